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
	"github.com/liap-tui/savepoint/report"
)

// RecoverAllOptions say which machines RecoverAll rebuilds, and how.
type RecoverAllOptions struct {
	// Kinds are the names of registered kinds; none = all registered kinds.
	Kinds []string
	// Since and Until bound the time of a machine's newest record, both inclusive;
	// zero = no bound.
	Since, Until time.Time
	// Workers is how many machines are rebuilt at once. Default: the number of
	// processors.
	Workers int
	// Partial restores a machine that cannot be rebuilt to its longest good prefix,
	// as RecoverOptions.Partial does.
	Partial bool
	// DryRun writes nothing.
	DryRun bool
	// Progress is called after each machine, from one goroutine at a time.
	Progress func(done, total int)
}

// RecoverAll rebuilds every machine once, to find those that cannot be rebuilt:
// they go into quarantine. It does not load the machines into the cache. The error
// says why it could not go on; the state of single machines is in the report.
func (db *DB) RecoverAll(ctx context.Context, o RecoverAllOptions) (*report.RecoverAll, error) {
	if db.closed.Load() {
		return nil, ErrClosed
	}
	start := time.Now()
	kinds, err := db.kinds.named(o.Kinds)
	if err != nil {
		return nil, err
	}
	r := &allRecoverer{db: db, opt: o}
	machines, err := r.machines(ctx, kinds)
	if err != nil {
		return nil, fmt.Errorf("recover all: %w", err)
	}
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	rep := &report.RecoverAll{}
	err = parallel.Do(ctx, workers, len(machines), func(i int) (*report.Recover, error) {
		return r.check(ctx, machines[i].kind, machines[i].id)
	}, func(_ int, one *report.Recover, err error) error {
		if err != nil {
			return err
		}
		rep.Machines++
		switch {
		case one == nil || one.Status == report.Healthy:
			rep.Healthy++
		case one.Status == report.Failed:
			rep.Failed = append(rep.Failed, one)
		default:
			rep.Recovered++
		}
		return reportProgress(o.Progress, rep.Machines, len(machines))
	})
	rep.Took = time.Since(start)
	if err != nil {
		return rep, fmt.Errorf("recover all: %w", err)
	}
	return rep, nil
}

// machineID names one machine.
type machineID struct {
	kind *kind
	id   string
}

// allRecoverer is one RecoverAll.
type allRecoverer struct {
	db  *DB
	opt RecoverAllOptions
}

// machines returns the machines of some kinds whose newest record is from Since to
// Until, and all machines with a damaged head.
func (r *allRecoverer) machines(ctx context.Context, kinds []*kind) (out []machineID, err error) {
	since, until := r.opt.Since, r.opt.Until
	for _, k := range kinds {
		err := r.db.eng.Scan(ctx, keyOf(k.name, ""), "", 0, func(key string, eh engine.Head) error {
			var h record.Head
			if eh.Err == nil && h.Parse(eh.Bytes, key) == nil {
				at := stored(h.Updated)
				if !since.IsZero() && at.Before(since) || !until.IsZero() && at.After(until) {
					return nil
				}
			}
			_, id, _ := splitKey(key)
			out = append(out, machineID{k, id})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// check rebuilds one machine. If that fails, the machine is recovered where
// Partial allows it, and put into quarantine otherwise. A nil report means that
// the machine is healthy; an error means that RecoverAll cannot go on.
func (r *allRecoverer) check(ctx context.Context, k *kind, id string) (*report.Recover, error) {
	db := r.db
	if db.closed.Load() {
		return nil, ErrClosed
	}
	if _, err := db.awaitDurable(ctx, k, id); err != nil && ctx.Err() != nil {
		return nil, err
	}
	s, _, tried, err := db.rebuild(ctx, k, id, engine.All, 0)
	if err == nil {
		if len(tried) > 0 {
			db.log.Warn("recovered another way", "kind", k.name, "id", id, "attempt", tried[0].String())
		}
		if !s.head.Deleted {
			db.quarantine.remove(k, id)
		}
		return nil, nil
	}
	if errors.Is(err, ErrNotFound) { // it was purged meanwhile
		return nil, nil
	}
	if !rebuildable(err) {
		return nil, err
	}
	if r.opt.Partial {
		rep, err := db.recoverMachine(ctx, k, id, RecoverOptions{Partial: true, DryRun: r.opt.DryRun, Reason: "recover all"})
		if err == nil {
			return rep, nil
		}
	}
	err = db.quarantine.add(k, id, err)
	db.log.Error("machine quarantined", "kind", k.name, "id", id, "error", err)
	return &report.Recover{Kind: k.name, ID: id, To: Latest().String(), Status: report.Failed, Tried: tried}, nil
}

// recoverInBackground rebuilds the machines of a kind once after an unclean close,
// to log how many cannot be rebuilt.
func (db *DB) recoverInBackground(k *kind) {
	rep, err := db.RecoverAll(db.background, RecoverAllOptions{Kinds: []string{k.name}, Workers: 1, DryRun: true})
	switch {
	case err != nil:
		if db.background.Err() == nil && !db.closed.Load() {
			db.log.Warn("not all machines were rebuilt after an unclean close", "kind", k.name, "error", err)
		}
	default:
		db.log.Info("rebuilt all machines after an unclean close", "kind", k.name, "machines", rep.Machines,
			"failed", len(rep.Failed), "took", rep.Took)
	}
}

// reportProgress calls the caller's Progress, if there is one. A panic of it is an
// error.
func reportProgress(progress func(done, total int), done, total int) (err error) {
	if progress == nil {
		return nil
	}
	defer guard("Progress", &err)
	progress(done, total)
	return nil
}
