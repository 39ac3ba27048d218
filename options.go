package savepoint

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/liap-tui/savepoint/engine"
)

// Options change how a database is opened. Nil and the zero value of each field
// mean the default. Open copies the struct and never writes to it.
type Options struct {
	// ReadOnly opens the file for reading; several processes may do so at once.
	ReadOnly bool
	// LockTimeout is how long Open waits for a file that is in use. Default 1 s.
	LockTimeout time.Duration
	// Strategy is for kinds that set none. Default Hybrid.
	Strategy Strategy
	// Snapshot is for the fields that a kind's policy leaves zero.
	Snapshot SnapshotPolicy
	// Retention is for the fields that a kind's policy leaves zero.
	Retention RetentionPolicy
	// RetainEvery is the time between two passes of retention in the background,
	// where a kind has a policy; the first one comes after a minute, or sooner.
	// Default 1 hour. Below zero: no pass but by [DB.Retain].
	RetainEvery time.Duration
	// Anomalies switches the look-out for machines on that run in circles, are
	// refused again and again, or are written to very often; see [DB.Anomalies].
	// Default nil: off.
	Anomalies *AnomalyOptions
	// Archive keeps the records that compactions and retention remove, before
	// they do. Default none: what is removed is gone.
	Archive Archive
	// NoCompression stores values as they are. Costs space, saves a little time.
	NoCompression bool
	// MaxEvent is the largest encoded event in bytes. Default 1 MiB.
	MaxEvent int
	// MaxState is the largest encoded state in bytes. Default 64 MiB.
	MaxState int
	// Queue is how many writes may be queued. Default 4,096. A write that finds
	// no place waits, or answers ErrBusy with NoWait.
	Queue int
	// QueueBytes is how many bytes may be queued. Default 64 MiB.
	QueueBytes int64
	// Cache bounds the machines kept in memory.
	Cache CacheOptions
	// NoRecoverAll switches off that Register, after an unclean close, looks at
	// all machines of its kind in the background.
	NoRecoverAll bool
	// Now is the clock for the times of records; it never decides about their
	// order. Default time.Now.
	Now func() time.Time
	// Journal is the size in bytes of the write-ahead ring inside the file, which
	// makes a write durable with one sync instead of two and groups many of them
	// into one change of the file's pages. It takes that much of the file, about as
	// much memory while it is full, at most two and a half times as much, and after a
	// crash Open stores what it holds. 0 is the default: on Linux a ring that begins
	// with 1 MiB and grows to 32 MiB under load, elsewhere none. More than 1 GiB is
	// 1 GiB. Below 0 is no ring: each group of writes is a transaction of its own. It
	// may differ from one Open to the next.
	Journal int64
	// Logger is told what an operator should know. Default: silent.
	Logger *slog.Logger
	// Engine stores the data instead of the file at the path; Open takes it over
	// and closes it. The path is then only a name.
	Engine engine.Engine
}

// Limits of Options.
const (
	defaultMaxEvent    = 1 << 20
	defaultMaxState    = 64 << 20
	defaultQueue       = 4096
	defaultQueueBytes  = 64 << 20
	defaultLockTimeout = time.Second
)

func (o *Options) validate() error {
	switch {
	case o == nil:
		return nil
	case o.LockTimeout < 0:
		return fmt.Errorf("savepoint: Options.LockTimeout is %v: use a time above zero, or 0 for %v", o.LockTimeout, defaultLockTimeout)
	case o.MaxEvent < 0 || o.MaxState < 0 || o.Queue < 0 || o.QueueBytes < 0:
		return fmt.Errorf("savepoint: Options.MaxEvent %d, MaxState %d, Queue %d, QueueBytes %d: none may be below zero", o.MaxEvent, o.MaxState, o.Queue, o.QueueBytes)
	}
	if err := o.Strategy.validate(); err != nil {
		return fmt.Errorf("savepoint: Options: %w", err)
	}
	if err := o.Cache.validate(); err != nil {
		return fmt.Errorf("savepoint: Options: %w", err)
	}
	if err := o.Anomalies.validate(); err != nil {
		return fmt.Errorf("savepoint: Options: %w", err)
	}
	return nil
}

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	def(&d.LockTimeout, defaultLockTimeout)
	def(&d.Strategy, Hybrid)
	def(&d.MaxEvent, defaultMaxEvent)
	def(&d.MaxState, defaultMaxState)
	def(&d.Queue, defaultQueue)
	def(&d.QueueBytes, defaultQueueBytes)
	def(&d.RetainEvery, defaultRetainEvery)
	d.Snapshot = d.Snapshot.or(defaultSnapshotPolicy)
	d.Retention = d.Retention.or(defaultRetentionPolicy)
	d.Cache = d.Cache.withDefaults()
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d
}

// def sets a zero field to its default.
func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
