package bolt

import (
	"slices"

	"github.com/liap-tui/savepoint/internal/format"
)

// samples holds snapshots of one kind of which a dictionary is made.
type samples struct {
	seen int // number of snapshots since the file was opened
	due  int // value of seen from which on a dictionary is made
	next int // index of the sample that is replaced next
	of   []machineSample
}

type machineSample struct {
	number uint64 // of the machine
	bytes  []byte // the start of its newest sampled snapshot
}

const (
	sampledMachines = 16      // largest number of samples
	fewestMachines  = 4       // number of samples for a dictionary
	sampleBytes     = 4 << 10 // largest length of a sample
	firstDue        = 16      // default of the number of snapshots before the first dictionary
	laterDue        = 2       // factor for the number of snapshots before the next one
	maxDictionaries = 32      // of a kind
)

// sample keeps every each-th snapshot of a kind, the newest of each machine. It
// skips snapshots of seq 0, since the state of a new machine is unlike later ones.
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

// better returns a dictionary made of the samples, or nil if it does not save a
// tenth of their size when they are encoded with the dictionary than, which may be
// nil.
func (s *samples) better(than *format.Dictionary) *format.Dictionary {
	s.due = s.seen * laterDue
	var payloads [][]byte
	for i := range s.of {
		payloads = append(payloads, s.of[i].bytes)
	}
	d, err := format.NewDictionary(format.Common(payloads, format.LongestDictionary))
	if err != nil { // the samples have too few bytes in common
		return nil
	}
	encode := format.Encode
	if than != nil {
		encode = than.Encode
	}
	before, after := 0, 0
	var scratch, encoded []byte
	for _, p := range payloads {
		encoded, _, scratch = encode(scratch, p)
		before += len(encoded)
		encoded, _, scratch = d.Encode(scratch, p)
		after += len(encoded)
	}
	if after*10 > before*9 {
		return nil
	}
	return d
}
