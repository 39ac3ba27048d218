package savepoint

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/parallel"
	"github.com/liap-tui/savepoint/internal/record"
)

// RecoverAllOptions say which machines to look at, and how.
type RecoverAllOptions struct {
	// Kinds are the names of registered kinds; none = all.
	Kinds []string
	// Since and Until bound the times of the newest records; zero = no bound.
	Since, Until time.Time
	// Workers look at machines at once. Default: the number of processors.
	Workers int
	// Partial recovers what cannot be rebuilt to its longest good prefix.
	Partial bool
	// DryRun writes nothing.
	DryRun bool
	// Progress is called after each machine, from one goroutine at a time.
	Progress func(done, total int)
}

// RecoverAllReport tells what RecoverAll found.
type RecoverAllReport struct {
	Machines  int // looked at
	Healthy   int
	Recovered int              // partially, because Partial was set
	Failed    []*RecoverReport // with Tried set; they are in quarantine
	Took      time.Duration
}

// RecoverAll rebuilds every machine once, to find those that cannot be. It does
// not fill the cache. It answers an error only when it could not go on; what is
// wrong with machines stands in the report.
func (db *DB) RecoverAll(ctx context.Context, o RecoverAllOptions) (*RecoverAllReport, error) {
	if db.closed.Load() {
		return nil, ErrClosed
	}
	start := time.Now()
	kinds, err := db.choose(o.Kinds)
	if err != nil {
		return nil, err
	}
	type target struct {
		kind *kind
		id   string
	}
	var targets []target
	for _, k := range kinds {
		err := db.eng.Scan(ctx, keyOf(k.name, ""), "", 0, func(key string, eh engine.Head) error {
			var h record.Head
			if eh.Err == nil && h.Parse(eh.Bytes, key) == nil {
				at := stored(h.Updated)
				if !o.Since.IsZero() && at.Before(o.Since) || !o.Until.IsZero() && at.After(o.Until) {
					return nil
				}
			}
			_, id, _ := splitKey(key)
			targets = append(targets, target{k, id})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("recover all: %w", err)
		}
	}
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	rep := &RecoverAllReport{}
	err = parallel.Do(ctx, workers, len(targets), func(i int) (*RecoverReport, error) {
		return db.look(ctx, targets[i].kind, targets[i].id, o)
	}, func(_ int, one *RecoverReport, err error) error {
		if err != nil {
			return err
		}
		rep.Machines++
		switch {
		case one == nil || one.Status == RecoverHealthy:
			rep.Healthy++
		case one.Status == RecoverFailed:
			rep.Failed = append(rep.Failed, one)
		default:
			rep.Recovered++
		}
		return reportProgress(o.Progress, rep.Machines, len(targets))
	})
	rep.Took = time.Since(start)
	if err != nil {
		return rep, fmt.Errorf("recover all: %w", err)
	}
	return rep, nil
}

// choose finds registered kinds by name.
func (db *DB) choose(names []string) ([]*kind, error) {
	db.kinds.mu.Lock()
	defer db.kinds.mu.Unlock()
	var out []*kind
	for _, name := range names {
		r := db.kinds.byName[name]
		if r == nil {
			return nil, fmt.Errorf("savepoint: kind %q is not registered", name)
		}
		out = append(out, r.kind)
	}
	if len(names) == 0 {
		for _, r := range db.kinds.byName {
			out = append(out, r.kind)
		}
	}
	return out, nil
}

// look rebuilds one machine, and recovers it if it has to and may. A nil report
// means that the machine is well; an error that the whole cannot go on.
func (db *DB) look(ctx context.Context, k *kind, id string, o RecoverAllOptions) (*RecoverReport, error) {
	if db.closed.Load() {
		return nil, ErrClosed
	}
	if _, err := db.awaitDurable(ctx, k, id); err != nil && ctx.Err() != nil {
		return nil, err
	}
	r, _, tried, err := db.rebuild(ctx, k, id, engine.All, 0)
	if err == nil {
		if len(tried) > 0 {
			db.log.Warn("recovered another way", "kind", k.name, "id", id, "attempt", tried[0].String())
		}
		if r.head.Deleted {
			return nil, nil
		}
		db.quarantine.remove(k, id)
		return nil, nil
	}
	if errors.Is(err, ErrNotFound) { // purged meanwhile
		return nil, nil
	}
	if !rebuildable(err) {
		return nil, err
	}
	if o.Partial {
		rep, err := db.recoverMachine(ctx, k, id, RecoverOptions{Partial: true, DryRun: o.DryRun, Reason: "recover all"})
		if err == nil {
			return rep, nil
		}
	}
	err = db.quarantine.add(k, id, err)
	db.log.Error("machine quarantined", "kind", k.name, "id", id, "error", err)
	return &RecoverReport{Kind: k.name, ID: id, To: Latest().String(), Status: RecoverFailed, Tried: tried}, nil
}

// recoverInBackground looks at a kind's machines after an unclean close.
func (db *DB) recoverInBackground(k *kind) {
	rep, err := db.RecoverAll(db.background, RecoverAllOptions{Kinds: []string{k.name}, Workers: 1, DryRun: true})
	switch {
	case err != nil:
		if db.background.Err() == nil && !db.closed.Load() {
			db.log.Warn("look at all machines after an unclean close", "kind", k.name, "error", err)
		}
	default:
		db.log.Info("looked at all machines after an unclean close", "kind", k.name, "machines", rep.Machines,
			"failed", len(rep.Failed), "took", rep.Took)
	}
}

// reportProgress calls a Progress of the caller's, if there is one.
func reportProgress(progress func(done, total int), done, total int) (err error) {
	if progress == nil {
		return nil
	}
	defer guard("Progress", &err)
	progress(done, total)
	return nil
}
