package savepoint

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// RetentionPolicy says how much of a machine's log is kept. Nothing is removed
// unless one of the limits is set: in each field zero means the default, for the
// limits "off" unless Options say otherwise, and a negative number "off".
//
// What is over a limit is removed in the background, as by [Store.Compact], at
// each pass ([Options.RetainEvery]). The machine's state, seq and keys stay; only
// its past is shorter.
//
// Ages are measured without the wall clock: a record is as old as the time for
// which the file was open since a pass found it. Clocks that jump make nothing
// older, and the time in which no process has the file open does not count.
type RetentionPolicy struct {
	// MaxRecords is how many records a machine keeps.
	MaxRecords int
	// Batch is how many more than MaxRecords gather before they are removed in
	// one go. Default: a tenth of MaxRecords, at most 1,000. Below zero: 1.
	Batch int
	// MaxBytes is how many bytes of records, as encoded, a machine keeps. They
	// are removed once there is a quarter more.
	MaxBytes int64
	// MaxAge removes records that are older.
	MaxAge time.Duration
	// ArchiveAfter is the age of the newest record at which a finished machine,
	// one in a phase of Kind.Final or a deleted one, goes into Options.Archive
	// with its whole log. Load gives its state as ever; Events, At and Recover
	// have its past again after [Store.Unarchive].
	ArchiveAfter time.Duration
}

var defaultRetentionPolicy = RetentionPolicy{MaxRecords: -1, MaxBytes: -1, MaxAge: -1, ArchiveAfter: -1}

// or fills the zero fields from d.
func (p RetentionPolicy) or(d RetentionPolicy) RetentionPolicy {
	orDefault(&p.MaxRecords, d.MaxRecords)
	orDefault(&p.Batch, d.Batch)
	orDefault(&p.MaxBytes, d.MaxBytes)
	orDefault(&p.MaxAge, d.MaxAge)
	orDefault(&p.ArchiveAfter, d.ArchiveAfter)
	return p
}

// on says whether the policy ever removes anything.
func (p *RetentionPolicy) on() bool {
	return p.MaxRecords > 0 || p.MaxBytes > 0 || p.MaxAge > 0 || p.ArchiveAfter > 0
}

// batch is Batch with its default.
func (p *RetentionPolicy) batch() uint64 {
	switch {
	case p.Batch > 0:
		return uint64(p.Batch)
	case p.Batch < 0:
		return 1
	}
	return uint64(min(1000, max(1, p.MaxRecords/10)))
}

// RetentionStats tell what retention did since Open.
type RetentionStats struct {
	Passes   int64 // over all machines
	Running  bool
	Machines int64 // compacted, once for each time
	Archived int64 // of those: finished machines that went into the archive
	Records  int64 // gone
	Bytes    int64 // of those records, as encoded
	Failed   int64 // compactions that failed; nothing is removed then
	Error    string
}

// RetentionReport tells what one pass did.
type RetentionReport struct {
	Machines  int // looked at
	Compacted int
	Archived  int   // of those: finished machines
	Records   int   // gone
	Bytes     int64 // of those records, as encoded
	Failed    []error
	Took      time.Duration
}

const (
	defaultRetainEvery = time.Hour
	firstRetain        = time.Minute    // after the first Register, or sooner
	sparedFor          = 24 * time.Hour // after Unarchive
	retainMachines     = 64             // compacted in one group
	maxFailures        = 100            // named in a report
)

// retention is the database's part of it.
type retention struct {
	pass   chan struct{} // one at a time
	ages   ages
	begun  bool // the background task; guarded by DB.mu
	mu     sync.Mutex
	stats  RetentionStats
	spared map[string]time.Time // machines that Unarchive brought back, by key
}

func (r *retention) init() {
	r.pass, r.spared, r.ages.start = make(chan struct{}, 1), map[string]time.Time{}, time.Now()
}

// spare leaves a machine alone for a while.
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

func (r *retention) isSpared(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.spared[key]
	return ok && time.Since(at) <= sparedFor
}

func (r *retention) snapshot() RetentionStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// retainInBackground makes a pass now and then, until Close.
func (db *DB) retainInBackground() {
	timer := time.NewTimer(min(firstRetain, db.opt.RetainEvery))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-db.background.Done():
			if err := db.retention.ages.save(context.Background(), db); err != nil && db.writable() == nil {
				db.log.Warn("retention", "error", err)
			}
			return
		}
		rep, err := db.retain(db.background, true)
		switch {
		case db.background.Err() != nil:
		case err != nil:
			db.log.Warn("retention", "error", err)
		case rep.Compacted > 0 || len(rep.Failed) > 0:
			db.log.Info("retention", "machines", rep.Machines, "compacted", rep.Compacted, "archived", rep.Archived,
				"records", rep.Records, "bytes", rep.Bytes, "failed", len(rep.Failed), "took", rep.Took)
		}
		timer.Reset(db.opt.RetainEvery)
	}
}

// Retain makes one pass over all machines of the registered kinds and removes
// what their policies let go, as the background does by itself. It waits for a
// pass that is under way. It answers an error only when it could not go on; what
// went wrong with machines stands in the report.
func (db *DB) Retain(ctx context.Context) (*RetentionReport, error) {
	if db.closed.Load() {
		return nil, ErrClosed
	}
	rep, err := db.retain(ctx, false)
	if err != nil {
		return rep, fmt.Errorf("retain: %w", err)
	}
	return rep, nil
}

// retain makes a pass. A gentle one rests as long as it works.
func (db *DB) retain(ctx context.Context, gentle bool) (*RetentionReport, error) {
	r := &db.retention
	select {
	case r.pass <- struct{}{}:
		defer func() { <-r.pass }()
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
	p := &pass{db: db, ctx: ctx, gentle: gentle, start: time.Now(), rep: &RetentionReport{}}
	err := p.run()
	p.rep.Took = time.Since(p.start)
	r.mu.Lock()
	r.stats.Running = false
	r.stats.Passes++
	r.mu.Unlock()
	return p.rep, err
}

// pass is one look at all machines.
type pass struct {
	db     *DB
	ctx    context.Context
	gentle bool
	start  time.Time
	worked time.Time // since when it has not rested
	rep    *RetentionReport

	group []*compaction // planned, to be pushed together
	final []bool        // of each: it archives a finished machine
	bytes uint64
}

func (p *pass) run() error {
	kinds, err := p.db.choose(nil)
	if err != nil {
		return err
	}
	p.worked = time.Now()
	top := uint64(0)
	for _, k := range kinds {
		if !k.retention.on() || !k.strategy.keepsEvents() {
			continue
		}
		if err := p.kind(k, &top); err != nil {
			return err
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	p.db.retention.ages.mark(top)
	return p.db.retention.ages.save(p.ctx, p.db)
}

// due is a machine that is over a limit.
type due struct {
	id    string
	to    uint64
	final bool
}

// kind looks at the machines of one kind, page by page.
func (p *pass) kind(k *kind, top *uint64) error {
	prefix, after := keyOf(k.name, ""), ""
	for {
		var page []due
		n := 0
		err := p.db.eng.Scan(p.ctx, prefix, after, listPage, func(key string, eh engine.Head) error {
			n++
			after = key
			*top = max(*top, eh.Pos)
			_, id, _ := splitKey(key)
			var h record.Head
			if eh.Err == nil && h.Parse(eh.Bytes, key) == nil && !p.db.retention.isSpared(key) {
				if d := p.over(k, id, &h, eh); d.to > h.Base || d.to == engine.All {
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
			if err := p.machine(k, d); err != nil {
				return err
			}
		}
		if n < listPage {
			return nil
		}
	}
}

// over says up to which record a machine is over its limits, as far as its head
// tells. All means that its records have to be looked at.
func (p *pass) over(k *kind, id string, h *record.Head, eh engine.Head) due {
	r, d := &k.retention, due{id: id}
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

// cut is over with a look at the records, for bytes and ages.
func (p *pass) cut(k *kind, id string) (to uint64, err error) {
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

// machine plans the compaction of one machine.
func (p *pass) machine(k *kind, d due) error {
	if d.to == engine.All {
		var err error
		if d.to, err = p.cut(k, d.id); err != nil {
			return p.goOn(k, d.id, err)
		}
	}
	rep := &CompactReport{Kind: k.name, ID: d.id}
	for n := 0; ; n++ {
		c, err := p.db.planCompaction(p.ctx, k, d.id, d.to, rep)
		if c == nil || err != nil {
			return p.goOn(k, d.id, err)
		}
		p.group, p.final = append(p.group, c), append(p.final, d.final && n == 0)
		p.bytes += c.bytes
		whole := c.to >= d.to
		if !whole || len(p.group) >= retainMachines || p.bytes >= chapterBytes {
			if err := p.flush(); err != nil {
				return err
			}
		}
		if whole || rep.Base != c.to {
			return nil
		}
	}
}

// goOn counts what failed for one machine, and says whether the pass has to end.
func (p *pass) goOn(k *kind, id string, err error) error {
	if err == nil || errors.Is(err, ErrNotFound) { // purged meanwhile
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
	p.db.log.Warn("retention", "error", err)
	r := &p.db.retention
	r.mu.Lock()
	r.stats.Failed++
	r.stats.Error = err.Error()
	r.mu.Unlock()
	return nil
}

// flush pushes the planned compactions, so that they share a group, waits for
// them, and rests if the pass is a gentle one.
func (p *pass) flush() error {
	for i, c := range p.group {
		if err := p.goOn(c.kind, c.id, c.push(p.ctx)); err != nil {
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

// waitGroup waits for what was pushed and counts it.
func (p *pass) waitGroup() error {
	var first error
	for i, c := range p.group {
		if c.ack == nil { // not pushed
			continue
		}
		before := *c.rep
		err := c.wait(p.ctx)
		p.count(c, &before, p.final[i], err == nil)
		if err := p.goOn(c.kind, c.id, err); err != nil && first == nil {
			first = err
		}
	}
	p.group, p.final, p.bytes = nil, nil, 0
	return first
}

func (p *pass) count(c *compaction, before *CompactReport, final, done bool) {
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
