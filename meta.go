package savepoint

import (
	"fmt"
	"strings"
	"time"

	"github.com/liap-tui/savepoint/internal/record"
)

// Meta is what the library knows of a record. Check and Apply see it as it is
// stored, but for Pos, which is given at commit.
type Meta struct {
	Kind, ID     string
	Seq          uint64 // of this machine: 1, 2, 3, ...
	Pos          uint64 // in the whole file; 0 in Check and Apply
	Name         string // of the event
	Time         time.Time
	Version      Version // of the kind when the record was written
	Upcast       bool    // the event is of an older version and was brought to the kind's
	From, To     string  // phase before and after; in Check and Apply both are the phase before
	Actor        string
	Origin       Origin
	Reason       string // of a record of the library: "saved", "restored", ...
	Key          string
	Cause        string
	Correlation  string
	Tags         []string
	Revision     uint64        // of a saved state under the versioned strategy
	RevisionName string        // empty where its number is its name
	Marked       uint64        // of an error mark: the record it is about
	Error        string        // of an error mark
	Took         time.Duration // since the record before; only from Events, never below zero
}

// Origin says where an event came from. It is a WriteOption.
type Origin uint8

// Origins. A write without one is OriginSystem if its actor begins with
// "system", else OriginUser.
const (
	OriginUser Origin = iota + 1
	OriginSystem
	OriginTimeout
	OriginRecovery
	OriginAdmin
)

var originNames = [...]string{"", "user", "system", "timeout", "recovery", "admin"}

func (o Origin) String() string {
	if int(o) < len(originNames) {
		return originNames[o]
	}
	return fmt.Sprintf("origin(%d)", uint8(o))
}

// micros is a time as it is stored.
func micros(t time.Time) int64 { return t.UnixMicro() }

// stored is the time that micros stands for.
func stored(us int64) time.Time { return time.UnixMicro(us).UTC() }

// metaOf is what an envelope says to a program with the kind k.
func metaOf(k *kind, id string, seq, pos uint64, e *record.Envelope) Meta {
	m := metaStored(k.name, id, seq, pos, e)
	m.Upcast = k.upcasts(e.Version)
	return m
}

// metaStored is what an envelope says.
func metaStored(kind, id string, seq, pos uint64, e *record.Envelope) (m Meta) {
	m.set(kind, id, seq, e)
	m.Pos = pos
	return m
}

// set makes m what an envelope says. Strings that are already what they have to
// be are not written: a replay uses one Meta for all records, and each pointer
// written costs while the garbage collector runs.
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

// WriteOption adds to a write: who did it, why, and when it may happen.
type WriteOption interface{ set(*writeOptions) }

type writeOptions struct {
	actor, key, cause, correlation string
	tags                           []string
	origin                         Origin
	derived                        bool // origin was not given
	ifSeq                          uint64
	hasIfSeq, noWait               bool
	reason                         string
}

type optionFunc func(*writeOptions)

func (f optionFunc) set(o *writeOptions) { f(o) }

func (o Origin) set(w *writeOptions) { w.origin = o }

// By names the actor.
func By(actor string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.actor = actor })
}

// IfSeq lets the write happen only if the machine's head, queued writes
// included, is at seq; 0 means that the machine must not exist. Otherwise the
// write answers a *ConflictError.
func IfSeq(seq uint64) WriteOption {
	return optionFunc(func(o *writeOptions) { o.ifSeq, o.hasIfSeq = seq, true })
}

// Key makes the write idempotent: a second write to the machine with the same
// key and the same content returns the first one's result and appends nothing;
// with other content it answers ErrKeyReused. The machine remembers its last
// 256 keys. For Update the callback counts as the same content.
func Key(key string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.key = key })
}

// Tag adds tags to the records, or to a snapshot. Tagged snapshots are never
// pruned.
func Tag(tags ...string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.tags = append(o.tags, tags...) })
}

// Cause names what led to the write, for example another event.
func Cause(cause string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.cause = cause })
}

// Correlation names what the write belongs to, for example a request.
func Correlation(id string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.correlation = id })
}

// NoWait answers ErrBusy instead of waiting for a place in the queue.
func NoWait() WriteOption {
	return optionFunc(func(o *writeOptions) { o.noWait = true })
}

// newWriteOptions is what opts ask for, to be read only.
func newWriteOptions(opts []WriteOption) *writeOptions {
	if len(opts) == 0 {
		return defaultWriteOptions
	}
	o := new(writeOptions)
	o.add(opts)
	return o
}

var defaultWriteOptions = func() *writeOptions {
	o := new(writeOptions)
	o.add(nil)
	return o
}()

// add sets options and derives the origin where none is given.
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
