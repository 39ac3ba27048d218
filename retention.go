package savepoint

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
	"github.com/liap-tui/savepoint/report"
)

// RetentionPolicy limits how much of a machine's log is kept. There are four
// limits, MaxRecords, MaxBytes, MaxAge and ArchiveAfter, and all are off by
// default: everything is kept. In a kind's policy a zero field takes the value of
// Options.Retention; there, zero means the default. A negative limit is off.
//
// A pass over all machines ([Options.RetainEvery], [DB.Retain]) removes the oldest
// records of every machine that is over a limit, as [Store.Compact] does. The
// machine keeps its state, its seq and its keys; points before the records that are
// left match ErrCompacted. Machines under SnapshotOnly have no records.
//
// The age of a record is the time for which the file has been open since the first
// pass that saw the record. So a record never becomes older because a clock jumps
// or because no process has the file open; it may be younger than its Time says.
type RetentionPolicy struct {
	// MaxRecords is how many of its newest records a machine keeps.
	MaxRecords int
	// Batch is how many records above MaxRecords are removed at once: fewer stay until
	// there are that many. Default: a tenth of MaxRecords, at least 1, at most 1,000.
	// A negative Batch is 1.
	Batch int
	// MaxBytes is how many bytes of its newest records a machine keeps, as they are
	// encoded, before compression. Records are removed once there is a quarter more
	// than that.
	MaxBytes int64
	// MaxAge is the age above which records are removed.
	MaxAge time.Duration
	// ArchiveAfter is the age of its newest record at which a finished machine goes
	// into Options.Archive with its whole log. A machine is finished in a phase of
	// Kind.Final, and when it is deleted. Load still returns its state; Events, At
	// and Recover reach its past after [Store.Unarchive].
	ArchiveAfter time.Duration
}

var defaultRetentionPolicy = RetentionPolicy{MaxRecords: -1, MaxBytes: -1, MaxAge: -1, ArchiveAfter: -1}

// or returns p with its zero fields taken from d.
func (p RetentionPolicy) or(d RetentionPolicy) RetentionPolicy {
	orDefault(&p.MaxRecords, d.MaxRecords)
	orDefault(&p.Batch, d.Batch)
	orDefault(&p.MaxBytes, d.MaxBytes)
	orDefault(&p.MaxAge, d.MaxAge)
	orDefault(&p.ArchiveAfter, d.ArchiveAfter)
	return p
}

// on reports whether any limit is set.
func (p *RetentionPolicy) on() bool {
	return p.MaxRecords > 0 || p.MaxBytes > 0 || p.MaxAge > 0 || p.ArchiveAfter > 0
}

// batch returns Batch, or its default.
func (p *RetentionPolicy) batch() uint64 {
	switch {
	case p.Batch > 0:
		return uint64(p.Batch)
	case p.Batch < 0:
		return 1
	}
	return uint64(min(1000, max(1, p.MaxRecords/10)))
}

const (
	defaultRetainEvery = time.Hour
	firstRetain        = time.Minute    // from the first Register to the first pass, unless RetainEvery is shorter
	sparedFor          = 24 * time.Hour // how long retention skips a machine after Unarchive
	retainMachines     = 64             // how many compactions are pushed together
	maxFailures        = 100            // how many errors a report holds
)

// retention is what a database keeps for its retention passes.
type retention struct {
	passing chan struct{} // holds one value while a pass is under way
	ages    ages
	begun   bool // the background task was started; guarded by DB.mu

	mu     sync.Mutex // guards the fields below
	stats  report.RetentionStats
	spared map[string]time.Time // when Unarchive brought a machine back, by key
}

func (r *retention) init() {
	r.passing, r.spared, r.ages.start = make(chan struct{}, 1), map[string]time.Time{}, time.Now()
}

// spare makes passes skip a machine for the time sparedFor.
func (r *retention) spare(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, at := range r.spared {
		if time.Since(at) > sparedFor {
			delete(r.spared, k)
		}
	}
	r.spared[key] = time.Now()
}

// isSpared reports whether passes skip a machine.
func (r *retention) isSpared(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.spared[key]
	return ok && time.Since(at) <= sparedFor
}

// snapshot returns a copy of the counts.
func (r *retention) snapshot() report.RetentionStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// retainInBackground makes a pass every Options.RetainEvery, until Close.
func (db *DB) retainInBackground() {
	timer := time.NewTimer(min(firstRetain, db.opt.RetainEvery))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-db.background.Done():
			if err := db.retention.ages.save(context.Background(), db); err != nil && db.writable() == nil {
				db.log.Warn("the ages of records cannot be stored", "error", err)
			}
			return
		}
		rep, err := db.retain(db.background, true)
		switch {
		case db.background.Err() != nil:
		case err != nil:
			db.log.Warn("a pass of retention was not finished", "error", err)
		case rep.Compacted > 0 || len(rep.Failed) > 0:
			db.log.Info("a pass of retention is done", "machines", rep.Machines, "compacted", rep.Compacted, "archived", rep.Archived,
				"records", rep.Records, "bytes", rep.Bytes, "failed", len(rep.Failed), "took", rep.Took)
		}
		timer.Reset(db.opt.RetainEvery)
	}
}

// Retain makes one pass over all machines of the registered kinds and removes the
// records that are over a limit of their [RetentionPolicy], as the background does
// every Options.RetainEvery. It first waits for a pass that is under way. The
// error says why the pass could not be finished; errors of single machines are in
// the report.
func (db *DB) Retain(ctx context.Context) (*report.Retain, error) {
	if db.closed.Load() {
		return nil, ErrClosed
	}
	rep, err := db.retain(ctx, false)
	if err != nil {
		return rep, fmt.Errorf("retain: %w", err)
	}
	return rep, nil
}

// retain makes a pass. A gentle pass rests for as long as it works.
func (db *DB) retain(ctx context.Context, gentle bool) (*report.Retain, error) {
	r := &db.retention
	select {
	case r.passing <- struct{}{}:
		defer func() { <-r.passing }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := db.writable(); err != nil {
		return nil, err
	}
	if err := r.ages.load(ctx, db); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.stats.Running = true
	r.mu.Unlock()
	p := &retentionPass{db: db, ctx: ctx, gentle: gentle, rep: &report.Retain{}}
	start := time.Now()
	err := p.run()
	p.rep.Took = time.Since(start)
	r.mu.Lock()
	r.stats.Running = false
	r.stats.Passes++
	r.mu.Unlock()
	return p.rep, err
}

// retentionPass examines all machines once and compacts those that are over a limit.
type retentionPass struct {
	db     *DB
	ctx    context.Context
	gentle bool
	worked time.Time // when the pass started, or rested last
	rep    *report.Retain

	group []*compaction // planned; they are pushed together
	final []bool        // whether group[i] archives a finished machine
	bytes uint64        // of the records that group removes
}

// run makes the pass. Afterwards everything that it saw has an age.
func (p *retentionPass) run() error {
	kinds, err := p.db.kinds.named(nil)
	if err != nil {
		return err
	}
	p.worked = time.Now()
	top := uint64(0)
	for _, k := range kinds {
		if !k.retention.on() || !k.strategy.keepsEvents() {
			continue
		}
		if err := p.examineKind(k, &top); err != nil {
			return err
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	p.db.retention.ages.mark(top)
	return p.db.retention.ages.save(p.ctx, p.db)
}

// overdue is a machine that may be over a limit.
type overdue struct {
	id    string
	to    uint64 // its records up to this one go; engine.All = its records decide
	final bool   // it is finished and goes into the archive
}

// examineKind examines the machines of one kind, page by page, and raises top to the
// highest position that it sees.
func (p *retentionPass) examineKind(k *kind, top *uint64) error {
	prefix, after := keyOf(k.name, ""), ""
	for {
		var page []overdue
		n := 0
		err := p.db.eng.Scan(p.ctx, prefix, after, listPage, func(key string, eh engine.Head) error {
			n++
			after = key
			*top = max(*top, eh.Pos)
			_, id, _ := splitKey(key)
			var h record.Head
			if eh.Err == nil && h.Parse(eh.Bytes, key) == nil && !p.db.retention.isSpared(key) {
				if d := p.examine(k, id, &h, eh); d.to > h.Base || d.to == engine.All {
					page = append(page, d)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		p.rep.Machines += n
		for _, d := range page {
			if err := p.compact(k, d); err != nil {
				return err
			}
		}
		if n < listPage {
			return nil
		}
	}
}

// examine compares a machine's head with the limits.
func (p *retentionPass) examine(k *kind, id string, h *record.Head, eh engine.Head) overdue {
	r, d := &k.retention, overdue{id: id}
	if eh.Seq == h.Base {
		return d
	}
	if r.ArchiveAfter > 0 && (h.Deleted || k.final[h.Phase]) && eh.Pos <= p.db.retention.ages.older(r.ArchiveAfter) {
		d.to, d.final = eh.Seq, true
		return d
	}
	if most := uint64(max(0, r.MaxRecords)); most > 0 && eh.Seq-h.Base >= most+r.batch() {
		d.to = eh.Seq - most
	}
	if r.MaxBytes > 0 && h.Bytes > uint64(r.MaxBytes)/4*5 || r.MaxAge > 0 && p.db.retention.ages.older(r.MaxAge) > 0 {
		d.to = engine.All
	}
	return d
}

// lastOver reads a machine's records and returns the last one that is over a limit,
// 0 if none is.
func (p *retentionPass) lastOver(k *kind, id string) (to uint64, err error) {
	r := &k.retention
	key := keyOf(k.name, id)
	_, h, err := p.db.storedHead(p.ctx, k, id, 0, func(*record.Snapshot) {})
	if err != nil {
		return 0, err
	}
	old := uint64(0)
	if r.MaxAge > 0 {
		old = p.db.retention.ages.older(r.MaxAge)
	}
	head, err := p.db.eng.Load(p.ctx, key, engine.LoadRange{Events: true, After: h.Base, To: engine.All}, func(it engine.Item) error {
		if it.Err == nil && it.Pos > old {
			return engine.Stop
		}
		if it.Err == nil {
			to = it.Seq
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if most := uint64(max(0, r.MaxRecords)); most > 0 && head.Seq-h.Base >= most+r.batch() {
		to = max(to, head.Seq-most)
	}
	if r.MaxBytes > 0 && h.Bytes > uint64(r.MaxBytes)/4*5 {
		kept := int64(0)
		_, err = p.db.eng.Load(p.ctx, key, engine.LoadRange{Events: true, After: max(to, h.Base), To: engine.All, Newest: true}, func(it engine.Item) error {
			if kept += int64(len(it.Bytes)); kept > r.MaxBytes {
				to = max(to, it.Seq)
				return engine.Stop
			}
			return nil
		})
	}
	return to, err
}

// compact plans the compactions of one machine. It pushes the group when that is
// full, and before the next segment of the same machine.
func (p *retentionPass) compact(k *kind, d overdue) error {
	if d.to == engine.All {
		var err error
		if d.to, err = p.lastOver(k, d.id); err != nil {
			return p.failed(k, d.id, err)
		}
	}
	rep := &report.Compact{Kind: k.name, ID: d.id}
	for n := 0; ; n++ {
		c, err := p.db.planCompaction(p.ctx, k, d.id, d.to, rep)
		if c == nil || err != nil {
			return p.failed(k, d.id, err)
		}
		p.group, p.final = append(p.group, c), append(p.final, d.final && n == 0)
		p.bytes += c.bytes
		whole := c.to >= d.to
		if !whole || len(p.group) >= retainMachines || p.bytes >= segmentBytes {
			if err := p.flush(); err != nil {
				return err
			}
		}
		if whole || rep.Base != c.to {
			return nil
		}
	}
}

// failed counts and reports what went wrong with one machine, if anything did. It
// returns an error if the pass has to end.
func (p *retentionPass) failed(k *kind, id string, err error) error {
	if err == nil || errors.Is(err, ErrNotFound) { // it was purged meanwhile
		return nil
	}
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if why := p.db.writable(); why != nil {
		return why
	}
	err = fmt.Errorf("%s %.60q: %w", k.name, id, err)
	if len(p.rep.Failed) < maxFailures {
		p.rep.Failed = append(p.rep.Failed, err)
	}
	p.db.log.Warn("the retention of a machine failed", "error", err)
	r := &p.db.retention
	r.mu.Lock()
	r.stats.Failed++
	r.stats.Error = err.Error()
	r.mu.Unlock()
	return nil
}

// flush pushes the planned compactions, so that one commit may take them all, and
// waits for them. Then a gentle pass rests.
func (p *retentionPass) flush() error {
	for i, c := range p.group {
		if err := p.failed(c.kind, c.id, c.push(p.ctx)); err != nil {
			p.group = p.group[:i]
			return errors.Join(err, p.waitGroup())
		}
	}
	if err := p.waitGroup(); err != nil || !p.gentle {
		return err
	}
	rest := time.NewTimer(time.Since(p.worked))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-p.ctx.Done():
	}
	p.worked = time.Now()
	return context.Cause(p.ctx)
}

// waitGroup waits for the compactions that were pushed and counts them.
func (p *retentionPass) waitGroup() error {
	var first error
	for i, c := range p.group {
		if c.ack == nil { // not pushed
			continue
		}
		before := *c.rep
		err := c.wait(p.ctx)
		p.count(c, &before, p.final[i], err == nil)
		if err := p.failed(c.kind, c.id, err); err != nil && first == nil {
			first = err
		}
	}
	p.group, p.final, p.bytes = nil, nil, 0
	return first
}

// count adds a compaction to the report and to the counts. before is its report
// before it was waited for.
func (p *retentionPass) count(c *compaction, before *report.Compact, final, done bool) {
	records, bytes := c.rep.Records-before.Records, c.rep.Bytes-before.Bytes
	p.rep.Records += records
	p.rep.Bytes += bytes
	r := &p.db.retention
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Records += int64(records)
	r.stats.Bytes += bytes
	if !done {
		return
	}
	p.rep.Compacted++
	r.stats.Machines++
	if final {
		p.rep.Archived++
		r.stats.Archived++
	}
}
