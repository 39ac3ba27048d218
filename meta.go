package savepoint

import (
	"time"

	"github.com/liap-tui/savepoint/internal/record"
)

// Meta is what the library records about an event. Check and Apply get it as it is
// stored, but without Pos, which is assigned at commit.
//
// Fields: one for each thing that is recorded.
type Meta struct {
	Kind, ID     string
	Seq          uint64 // number of the record within its machine: 1, 2, 3, ...
	Pos          uint64 // position in the order of all records of the database; 0 in Check and Apply
	Name         string // of the event; names that start with "_" are the library's own
	Time         time.Time
	Version      Version // version of the kind that wrote the record
	Upcast       bool    // the event is of an older version and was upcast to the kind's
	From, To     string  // phase before and after; in Check and Apply both are the phase before
	Actor        string
	Origin       Origin
	Reason       string // of a record with a whole state: "saved", "restored", "forked", "migrated" or "created"
	Key          string
	Cause        string
	Correlation  string
	Tags         []string
	Revision     uint64        // number of the revision that a Save under Versioned made; otherwise 0
	RevisionName string        // empty where the number is the name
	Marked       uint64        // of an error mark: the seq of the record that it marks
	Error        string        // of an error mark: the error; of a Save: the text of Because; of a recovery: its report as JSON
	Took         time.Duration // time since the previous record of the machine; only Events sets it; never negative
}

// Origin says where an event came from. It is a WriteOption.
type Origin uint8

// The origins. A write without one has OriginSystem if its actor starts with
// "system", otherwise OriginUser.
const (
	OriginUser Origin = iota + 1
	OriginSystem
	OriginTimeout
	OriginRecovery
	OriginAdmin
)

func (o Origin) String() string { return record.OriginName(uint8(o)) }

func (o Origin) set(w *writeOptions) { w.origin = o }

// micros returns a time as it is stored, in microseconds since 1970.
func micros(t time.Time) int64 { return t.UnixMicro() }

// stored returns the time of a stored number of microseconds, in UTC.
func stored(us int64) time.Time { return time.UnixMicro(us).UTC() }

// metaOf returns the Meta of an envelope for a program that has the kind k.
func metaOf(k *kind, id string, seq, pos uint64, e *record.Envelope) Meta {
	m := metaStored(k.name, id, seq, pos, e)
	m.Upcast = k.upcasts(e.Version)
	return m
}

// metaStored returns the Meta of an envelope of any kind. Upcast is not set.
func metaStored(kind, id string, seq, pos uint64, e *record.Envelope) (m Meta) {
	m.set(kind, id, seq, e)
	m.Pos = pos
	return m
}

// set sets m to what an envelope says, except Pos and Upcast. It does not write
// strings that are equal already: a replay uses one Meta for all records, and each
// write of a pointer costs while the garbage collector runs.
func (m *Meta) set(kind, id string, seq uint64, e *record.Envelope) {
	put := func(s *string, v string) {
		if *s != v {
			*s = v
		}
	}
	put(&m.Kind, kind)
	put(&m.ID, id)
	put(&m.Name, e.Name)
	put(&m.From, e.From)
	put(&m.To, e.To)
	put(&m.Actor, e.Actor)
	put(&m.Reason, e.Reason)
	put(&m.Key, e.Key)
	put(&m.Cause, e.Cause)
	put(&m.Correlation, e.Correlation)
	put(&m.Error, e.Error)
	put(&m.RevisionName, e.RevisionName)
	if m.Tags != nil || e.Tags != nil {
		m.Tags = e.Tags
	}
	m.Seq, m.Time, m.Version = seq, stored(e.Time), unpackVersion(e.Version)
	m.Origin, m.Revision, m.Marked = Origin(e.Origin), e.Revision, e.Mark
}
