package peer

import (
	"context"
	"sync"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/bench/workload"
	"github.com/liap-tui/savepoint/internal/queue"
)

// groupStore groups the appends of many goroutines with savepoint's own committer
// and passes them to the store in batches. So stores for one writer can take part,
// and it shows how fast a store is with savepoint's group commit.
type groupStore struct {
	Store
	queue *queue.Queue[*call]
	batch []*Append
	calls sync.Pool
}

// call is one append in the queue.
type call struct {
	of     *groupStore
	append *Append
	err    error
	done   chan struct{}
}

func grouped(open func(string, *workload.Load) (Store, error)) func(string, *workload.Load) (Store, error) {
	return func(dir string, load *workload.Load) (Store, error) {
		s, err := open(dir, load)
		if err != nil {
			return nil, err
		}
		g := &groupStore{Store: s}
		g.calls.New = func() any { return &call{of: g, done: make(chan struct{}, 1)} }
		g.queue = queue.New(4096, 64<<20, func(group []*call, _ func()) { g.run(group) })
		return g, nil
	}
}

// OpenReport returns the report of the store, empty if it has none.
func (g *groupStore) OpenReport() (rep savepoint.OpenReport) {
	if r, ok := g.Store.(Reporter); ok {
		rep = r.OpenReport()
	}
	return rep
}

func (g *groupStore) run(group []*call) {
	g.batch = g.batch[:0]
	for _, c := range group {
		c.append.Err = nil
		g.batch = append(g.batch, c.append)
	}
	err := g.Store.Batch(g.batch)
	for _, c := range group {
		if c.err = err; err == nil {
			c.err = c.append.Err
		}
		c.done <- struct{}{}
	}
}

func (g *groupStore) Start(a *Append) (Pending, error) {
	if err := g.queue.Reserve(context.Background(), false); err != nil {
		return nil, err
	}
	c := g.calls.Get().(*call)
	c.append = a
	g.queue.Push(c, int64(len(a.Event.Bytes)))
	return c, nil
}

func (c *call) Wait() error {
	<-c.done
	err := c.err
	c.append = nil
	c.of.calls.Put(c)
	return err
}

func (g *groupStore) Close() error {
	g.queue.Close()
	return g.Store.Close()
}

// inner returns the store that s wraps, for calls that need no queue.
func inner(s Store) Store {
	switch s := s.(type) {
	case *groupStore:
		return s.Store
	case *singleStore:
		return s.Store
	}
	return s
}

// CanRead returns s as a Reader, if it can read one machine.
func CanRead(s Store) (Reader, bool) { r, ok := inner(s).(Reader); return r, ok }

// CanCount returns s as a Counter, if it can count its events.
func CanCount(s Store) (Counter, bool) { c, ok := inner(s).(Counter); return c, ok }

// singleStore makes each append a batch of its own: a store used directly, without
// grouping. Batches run one at a time.
type singleStore struct {
	Store
	mu sync.Mutex
}

func single(open func(string, *workload.Load) (Store, error)) func(string, *workload.Load) (Store, error) {
	return func(dir string, load *workload.Load) (Store, error) {
		s, err := open(dir, load)
		if err != nil {
			return nil, err
		}
		return &singleStore{Store: s}, nil
	}
}

func (s *singleStore) Start(a *Append) (Pending, error) {
	a.Err = nil
	s.mu.Lock()
	err := s.Batch([]*Append{a})
	s.mu.Unlock()
	if err == nil {
		err = a.Err
	}
	return done{}, err
}
