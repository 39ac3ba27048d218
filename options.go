package savepoint

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/liap-tui/savepoint/anomaly"
	"github.com/liap-tui/savepoint/archive"
	"github.com/liap-tui/savepoint/engine"
)

// Options change how a database is opened. A nil *Options and the zero value of a field
// mean the defaults. Open copies the struct and never changes it.
type Options struct {
	// ReadOnly opens the file for reading only. Several processes may do so at once.
	ReadOnly bool
	// LockTimeout is how long Open waits for a file that is in use. Default 1 second.
	LockTimeout time.Duration
	// Strategy is that of kinds that set none. Default Hybrid.
	Strategy Strategy
	// Snapshot fills the fields that a kind's policy leaves zero.
	Snapshot SnapshotPolicy
	// Retention fills the fields that a kind's policy leaves zero.
	Retention RetentionPolicy
	// RetainEvery is the time between two passes of retention in the background. They run
	// when a kind with a retention policy is registered; the first starts after a minute,
	// or after RetainEvery if that is less. Default 1 hour. A negative value switches them
	// off: only [DB.Retain] runs a pass then.
	RetainEvery time.Duration
	// Anomalies switches on the detection of machines that repeat a change of phase, that
	// refuse many writes or that are written to very often; see [DB.Anomalies]. Default
	// nil: off.
	Anomalies *anomaly.Options
	// Archive gets the records that a compaction or retention removes, before they are
	// removed. Default nil: they are not kept.
	Archive archive.Archive
	// NoCompression stores values uncompressed, which takes more space and a little less
	// processor time.
	NoCompression bool
	// MaxEvent is the largest encoded event in bytes; a larger one is refused with
	// ErrTooLarge. Default 1 MiB.
	MaxEvent int
	// MaxState is the largest encoded state in bytes; a larger one is refused with
	// ErrTooLarge. Default 64 MiB.
	MaxState int
	// Queue is how many writes may be queued. A write that finds the queue full waits, or
	// is refused with ErrBusy if it has NoWait. Default 4,096.
	Queue int
	// QueueBytes is how many bytes may be queued. Default 64 MiB.
	QueueBytes int64
	// Cache bounds the machines in memory.
	Cache CacheOptions
	// NoRecoverAll switches off the check of all machines of a kind that Register starts
	// in the background when the file was not closed cleanly.
	NoRecoverAll bool
	// Now is the clock for the times of records. It never decides about their order.
	// Default time.Now.
	Now func() time.Time
	// Journal is the size in bytes of the write-ahead journal inside the file. The journal
	// makes a write durable with one sync instead of two, and moves many groups of writes
	// into the file's pages at once. It takes that much space in the file. What it holds is
	// in memory too, about as much, two and a half times as much at most; after a crash Open
	// replays it.
	//
	// Default 0: on Linux a journal that starts with 1 MiB and grows to 32 MiB under load,
	// on other systems none. A negative value means no journal: each group of writes is a
	// transaction of its own. Values above 1 GiB count as 1 GiB. It may differ from one Open
	// to the next.
	Journal int64
	// Logger receives what an operator should know. Default: nothing is logged.
	Logger *slog.Logger
	// Engine stores the data in place of the file; the path is only a name then. After Open
	// has succeeded the database owns the engine and closes it. Default nil: the file at the
	// path.
	Engine engine.Engine
}

// Defaults of Options.
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
	if o.Anomalies != nil {
		if err := o.Anomalies.Validate(); err != nil {
			return fmt.Errorf("savepoint: Options: %w", err)
		}
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

// orDefault sets a field that is zero to value.
func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// variable is an environment variable that FromEnv reads.
type variable struct {
	name string
	set  func(o *Options, text string) error
}

// variables are applied in this order.
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

// recoverAll sets NoRecoverAll when one of its variables is false.
func recoverAll(o *Options, on bool) { o.NoRecoverAll = o.NoRecoverAll || !on }

// FromEnv returns a copy of base in which environment variables set fields; a nil base
// means the zero Options. A variable that is empty or not set changes nothing. Bad values
// are errors that name their variables.
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
// Numbers are whole and above zero. No variable switches off that a machine is rebuilt
// when it is used.
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

// parseWhole parses a whole number above zero.
func parseWhole(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return 0, errors.New("use a whole number above zero")
	}
	return n, nil
}

// numbered returns the setter of a field that is a number.
func numbered(field func(o *Options) *int) func(*Options, string) error {
	return func(o *Options, text string) error {
		n, err := parseWhole(text)
		if err == nil {
			*field(o) = int(n)
		}
		return err
	}
}

// lasting returns the setter of a field that is a time, given as a number of units.
func lasting(unit time.Duration, field func(o *Options) *time.Duration) func(*Options, string) error {
	return func(o *Options, text string) error {
		n, err := parseWhole(text)
		if err == nil && n > int64(1<<63-1)/int64(unit) {
			err = fmt.Errorf("use at most %d", int64(1<<63-1)/int64(unit))
		}
		if err == nil {
			*field(o) = time.Duration(n) * unit
		}
		return err
	}
}

// switched returns the setter of a field that is on or off.
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
