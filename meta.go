package savepoint

import (
	"strings"
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
	Revision     uint64        // number of the revision that a Save under Versioned made; else 0
	RevisionName string        // empty where the number is the name
	Marked       uint64        // of an error mark: the seq of the record that it marks
	Error        string        // of an error mark: the error; of a Save: the text of Because; of a recovery: its report as JSON
	Took         time.Duration // time since the previous record of the machine; only Events sets it; never negative
}

// Origin says where an event came from. It is a WriteOption.
type Origin uint8

// The origins. A write without one has OriginSystem if its actor starts with
// "system", else OriginUser.
const (
	OriginUser Origin = iota + 1
	OriginSystem
	OriginTimeout
	OriginRecovery
	OriginAdmin
)

func (o Origin) String() string { return record.OriginName(uint8(o)) }

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

// WriteOption adds to a write who made it and why, or a condition. An option that a
// write has no use for is ignored, unless the comment of the call says otherwise.
type WriteOption interface{ set(*writeOptions) }

// writeOptions are the options of one write.
type writeOptions struct {
	actor, key, cause, correlation string
	tags                           []string
	origin                         Origin
	derived                        bool // origin was derived from actor
	ifSeq                          uint64
	hasIfSeq, noWait               bool
	reason                         string // of Because
}

type optionFunc func(*writeOptions)

func (f optionFunc) set(o *writeOptions) { f(o) }

func (o Origin) set(w *writeOptions) { w.origin = o }

// By sets the actor of the records.
func By(actor string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.actor = actor })
}

// IfSeq refuses the write with a *ConflictError unless the machine is at seq, queued
// writes included. 0 means that the machine must not exist.
func IfSeq(seq uint64) WriteOption {
	return optionFunc(func(o *writeOptions) { o.ifSeq, o.hasIfSeq = seq, true })
}

// Key makes the write idempotent. A second write to the machine with the same key and
// the same content stores nothing and returns the result of the first; with other
// content it is refused with ErrKeyReused. Callbacks of Update all count as the same
// content. A machine remembers its last 256 keys.
func Key(key string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.key = key })
}

// Tag adds tags to the records, or to a snapshot. A snapshot with tags is never
// pruned.
func Tag(tags ...string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.tags = append(o.tags, tags...) })
}

// Cause records what led to the write, for example another event.
func Cause(cause string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.cause = cause })
}

// Correlation records what the write belongs to, for example a request.
func Correlation(id string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.correlation = id })
}

// NoWait refuses the write with ErrBusy where it would wait for a place in the queue.
func NoWait() WriteOption {
	return optionFunc(func(o *writeOptions) { o.noWait = true })
}

// newWriteOptions returns what opts ask for. The result must not be changed.
func newWriteOptions(opts []WriteOption) *writeOptions {
	if len(opts) == 0 {
		return defaultWriteOptions
	}
	o := new(writeOptions)
	o.add(opts)
	return o
}

// defaultWriteOptions is the result for no options. It must not be changed.
var defaultWriteOptions = func() *writeOptions {
	o := new(writeOptions)
	o.add(nil)
	return o
}()

// add applies opts and derives the origin again unless an option sets one.
func (o *writeOptions) add(opts []WriteOption) {
	given := o.origin
	if o.derived {
		given = 0
	}
	o.origin = given
	for _, opt := range opts {
		if opt != nil {
			opt.set(o)
		}
	}
	if o.derived = o.origin == 0; o.derived {
		o.origin = OriginUser
		if strings.HasPrefix(o.actor, "system") {
			o.origin = OriginSystem
		}
	}
}
