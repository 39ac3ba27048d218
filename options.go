package savepoint

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
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
	orDefault(&d.LockTimeout, defaultLockTimeout)
	orDefault(&d.Strategy, Hybrid)
	orDefault(&d.MaxEvent, defaultMaxEvent)
	orDefault(&d.MaxState, defaultMaxState)
	orDefault(&d.Queue, defaultQueue)
	orDefault(&d.QueueBytes, defaultQueueBytes)
	orDefault(&d.RetainEvery, defaultRetainEvery)
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

// orDefault sets a zero field to its default.
func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// variable is an environment variable that FromEnv knows.
type variable struct {
	name string
	set  func(o *Options, text string) error
}

// variables are all of them; those of one field in the order in which they hold.
var variables = []variable{
	{"PERSISTENCE_STRATEGY", func(o *Options, text string) error {
		i := slices.Index(strategyNames[:], text)
		if i < 1 {
			return fmt.Errorf("use one of %q", strategyNames[1:])
		}
		o.Strategy = Strategy(i)
		return nil
	}},
	{"SNAPSHOT_INTERVAL_SECONDS", lasting(time.Second, func(o *Options) *time.Duration { return &o.Snapshot.Every })},
	{"MAX_SNAPSHOTS_PER_STATE", numbered(func(o *Options) *int { return &o.Snapshot.Keep })},
	{"SNAPSHOT_COMPRESSION", switched(func(o *Options, on bool) { o.NoCompression = !on })},
	{"SNAPSHOT_RETENTION_DAYS", lasting(24*time.Hour, func(o *Options) *time.Duration { return &o.Snapshot.MaxAge })},
	{"MAX_EVENTS_PER_STATE", numbered(func(o *Options) *int { return &o.Retention.MaxRecords })},
	{"EVENT_COMPACT_THRESHOLD", numbered(func(o *Options) *int { return &o.Retention.Batch })},
	{"EVENT_RETENTION_DAYS", lasting(24*time.Hour, func(o *Options) *time.Duration { return &o.Retention.MaxAge })},
	{"COMPLETED_GAME_RETENTION_HOURS", lasting(time.Hour, func(o *Options) *time.Duration { return &o.Retention.ArchiveAfter })},
	{"CACHE_ENABLED", switched(func(o *Options, on bool) { o.Cache.Off = !on })},
	{"CACHE_SIZE", numbered(func(o *Options) *int { return &o.Cache.Machines })},
	{"CACHE_TTL_SECONDS", lasting(time.Second, func(o *Options) *time.Duration { return &o.Cache.TTL })},
	{"RECOVERY_ENABLED", switched(recoverAll)},
	{"AUTO_RECOVERY", switched(recoverAll)},
}

// recoverAll is on unless one of its variables switches it off.
func recoverAll(o *Options, on bool) { o.NoRecoverAll = o.NoRecoverAll || !on }

// FromEnv makes Options from the environment: those fields of base that a
// variable names get its value, the others stay; nil is no base. base is not
// changed. A variable that is not set, or empty, says nothing; a bad value is an
// error that names it.
//
//	PERSISTENCE_STRATEGY            snapshot_only, event_sourced, hybrid or versioned
//	SNAPSHOT_INTERVAL_SECONDS       Snapshot.Every
//	MAX_SNAPSHOTS_PER_STATE         Snapshot.Keep
//	SNAPSHOT_COMPRESSION            true or false: NoCompression
//	SNAPSHOT_RETENTION_DAYS         Snapshot.MaxAge
//	MAX_EVENTS_PER_STATE            Retention.MaxRecords
//	EVENT_COMPACT_THRESHOLD         Retention.Batch
//	EVENT_RETENTION_DAYS            Retention.MaxAge
//	COMPLETED_GAME_RETENTION_HOURS  Retention.ArchiveAfter
//	CACHE_ENABLED                   true or false: Cache.Off
//	CACHE_SIZE                      Cache.Machines
//	CACHE_TTL_SECONDS               Cache.TTL
//	RECOVERY_ENABLED, AUTO_RECOVERY false in either: NoRecoverAll
//
// Numbers are whole and above zero. What a machine needs to be shown is always
// recovered when it is used; no variable switches that off.
func FromEnv(base *Options) (*Options, error) {
	var o Options
	if base != nil {
		o = *base
	}
	var errs []error
	for _, v := range variables {
		text := os.Getenv(v.name)
		if text == "" {
			continue
		}
		if err := v.set(&o, text); err != nil {
			errs = append(errs, fmt.Errorf("savepoint: variable %s is %q: %w", v.name, text, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &o, nil
}

// whole reads a number above zero.
func whole(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return 0, errors.New("use a whole number above zero")
	}
	return n, nil
}

func numbered(field func(o *Options) *int) func(*Options, string) error {
	return func(o *Options, text string) error {
		n, err := whole(text)
		if err == nil {
			*field(o) = int(n)
		}
		return err
	}
}

func lasting(unit time.Duration, field func(o *Options) *time.Duration) func(*Options, string) error {
	return func(o *Options, text string) error {
		n, err := whole(text)
		if err == nil && n > int64(1<<63-1)/int64(unit) {
			err = fmt.Errorf("use at most %d", int64(1<<63-1)/int64(unit))
		}
		if err == nil {
			*field(o) = time.Duration(n) * unit
		}
		return err
	}
}

func switched(set func(o *Options, on bool)) func(*Options, string) error {
	return func(o *Options, text string) error {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("use true or false")
		}
		set(o, on)
		return nil
	}
}
