package savepoint

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

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
