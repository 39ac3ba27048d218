package enginetest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/liap-tui/savepoint/engine"
)

// The values that the tests store name their machine and seq, so that a value in
// the wrong place is detected.

func eventBytes(machine string, seq uint64) []byte {
	return fmt.Appendf(nil, "event %d of %q %*d", seq, machine, int(seq%7)*9, seq)
}

func snapshotBytes(machine string, seq uint64) []byte {
	return fmt.Appendf(nil, "snapshot %d of %q", seq, machine)
}

func headBytes(machine string, seq uint64) []byte {
	return fmt.Appendf(nil, "head %d of %q", seq, machine)
}

func tokenOf(machine string, seq uint64) [16]byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(machine), seq))
	return [16]byte(sum[:16])
}

// grow returns a write of n events after seq expect.
func grow(machine string, expect, n uint64) engine.Write {
	return growTo(machine, expect, expect+n, n)
}

// growTo returns a write from seq expect to seq with events for the last n seqs.
func growTo(machine string, expect, seq, n uint64) engine.Write {
	w := engine.Write{
		Machine: machine,
		Kind:    7,
		Schema:  1<<40 + 3,
		Expect:  expect,
		Seq:     seq,
		Head:    headBytes(machine, seq),
		Token:   tokenOf(machine, seq),
	}
	for at := seq - n + 1; at <= seq; at++ {
		w.Events = append(w.Events, engine.Event{Bytes: eventBytes(machine, at), Terms: terms(at)})
	}
	return w
}

// terms returns short, empty or hostile terms in turn.
func terms(seq uint64) engine.Terms {
	switch seq % 3 {
	case 0:
		return engine.Terms{}
	case 1:
		return engine.Terms{Name: "played", From: "turn", To: "scoring", Actor: "alice", Origin: 1, Time: int64(seq)}
	default:
		return engine.Terms{Name: "\x00\xff", From: "\xff", To: "", Actor: "\x00", Origin: 255, Time: -int64(seq)}
	}
}

// with adds a snapshot at each seq.
func with(w engine.Write, seqs ...uint64) engine.Write {
	for _, seq := range seqs {
		w.Snapshots = append(w.Snapshots, engine.Snapshot{Seq: seq, Bytes: snapshotBytes(w.Machine, seq)})
	}
	return w
}

func purge(machine string, expect uint64) engine.Write {
	return engine.Write{Machine: machine, Expect: expect, Purge: true}
}

// headAt returns the head after a write by grow.
func headAt(machine string, number, seq, pos uint64) engine.Head {
	return engine.Head{Number: number, Seq: seq, Pos: pos, Token: tokenOf(machine, seq), Bytes: headBytes(machine, seq)}
}

// eventItems returns the events first to last, where last has position pos.
func eventItems(machine string, first, last, pos uint64) []item {
	var items []item
	for seq := first; seq <= last; seq++ {
		items = append(items, item{engine.PartEvent, seq, pos - (last - seq), string(eventBytes(machine, seq))})
	}
	return items
}

func snapshotItems(machine string, seqs ...uint64) []item {
	var items []item
	for _, seq := range seqs {
		items = append(items, item{engine.PartSnapshot, seq, 0, string(snapshotBytes(machine, seq))})
	}
	return items
}
