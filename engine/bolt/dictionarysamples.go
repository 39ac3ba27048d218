package bolt

import (
	"slices"

	"github.com/liap-tui/savepoint/internal/format"
)

// samples are snapshots of one kind to make a dictionary of.
type samples struct {
	seen int // snapshots since the file was opened
	due  int // how many have to be seen before a dictionary is made
	next int // the slot to be replaced
	of   []machineSample
}

type machineSample struct {
	number uint64 // of the machine
	bytes  []byte
}

const (
	sampledMachines = 16
	fewestMachines  = 4
	sampleBytes     = 4 << 10 // of each, its beginning
	firstDue        = 16
	laterDue        = 2  // times as many snapshots before the next try
	mostOfKind      = 32 // dictionaries
)

// sample keeps each so manyth snapshot of a kind, the newest of each machine. What
// a new machine begins with is none: it says little about those to come.
func (s *samples) sample(all []pendingSnapshot, kind uint32, each int) {
	n := 0
	for i := range all {
		snap := &all[i]
		if snap.drop || snap.kind != kind || snap.seq == 0 || len(snap.bytes) > format.LongestShared {
			continue
		}
		s.seen++
		if n++; n%each != 0 {
			continue
		}
		at := slices.IndexFunc(s.of, func(have machineSample) bool { return have.number == snap.number })
		switch {
		case at >= 0:
		case len(s.of) < sampledMachines:
			at = len(s.of)
			s.of = append(s.of, machineSample{})
		default:
			at = s.next % len(s.of)
			s.next = at + 1
		}
		s.of[at].number = snap.number
		s.of[at].bytes = append(s.of[at].bytes[:0], snap.bytes[:min(len(snap.bytes), sampleBytes)]...)
	}
}

func (s *samples) ready() bool { return s.seen >= s.due && len(s.of) >= fewestMachines }

// better makes a dictionary of the samples; nil if it saves less than a tenth of
// what they take with the one there is.
func (s *samples) better(than *format.Dictionary) *format.Dictionary {
	s.due = s.seen * laterDue
	var payloads [][]byte
	for i := range s.of {
		payloads = append(payloads, s.of[i].bytes)
	}
	d, err := format.NewDictionary(format.Common(payloads, format.LongestDictionary))
	if err != nil { // they have too little in common
		return nil
	}
	encode := format.Encode
	if than != nil {
		encode = than.Encode
	}
	before, after := 0, 0
	var room, encoded []byte
	for _, p := range payloads {
		encoded, _, room = encode(room, p)
		before += len(encoded)
		encoded, _, room = d.Encode(room, p)
		after += len(encoded)
	}
	if after*10 > before*9 {
		return nil
	}
	return d
}
