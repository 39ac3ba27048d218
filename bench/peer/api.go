package peer

import (
	"context"
	"math"
	"path/filepath"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/bench/workload"
)

// apiStore is savepoint as a game server uses it: typed events are checked,
// encoded, applied and stored. Settings: the defaults, except that Close makes no
// snapshots, and that the cache holds all machines if it is given a size.
type apiStore struct {
	db    *savepoint.DB
	typed workload.Typed
}

// Journal is the size of savepoint's journal in bytes, in every cell; 0 means its
// default. It is set before the first cell.
var Journal int64

// Sizes of the cache.
const (
	cacheDefault = 0
	cacheOfAll   = math.MaxInt64 / 4
)

func openAPI(cache int64) func(string, *workload.Load) (Store, error) {
	return func(dir string, load *workload.Load) (Store, error) {
		return OpenAPI(dir, load, cache, savepoint.SnapshotPolicy{NoClose: true})
	}
}

// OpenAPI opens a database with a cache of the given size in bytes (0 = the default)
// and the given snapshot policy.
func OpenAPI(dir string, load *workload.Load, cache int64, policy savepoint.SnapshotPolicy) (Store, error) {
	o := savepoint.Options{NoRecoverAll: true, Journal: Journal, Cache: savepoint.CacheOptions{Bytes: cache}}
	db, err := savepoint.Open(filepath.Join(dir, "game.db"), &o)
	if err != nil {
		return nil, err
	}
	s := &apiStore{db, load.Typed()}
	return s, s.typed.Register(db, policy)
}

// Typed returns the store's machines.
func (s *apiStore) Typed() workload.Typed { return s.typed }

// OpenReport returns the report of the database.
func (s *apiStore) OpenReport() savepoint.OpenReport { return s.db.OpenReport() }

// apiAck is an Ack with the method of a Pending.
type apiAck savepoint.Ack

func (a *apiAck) Wait() error { return (*savepoint.Ack)(a).Err() }

func (s *apiStore) Start(a *Append) (Pending, error) {
	return (*apiAck)(s.typed.Go(context.Background(), a.Number, a.Seq)), nil
}

func (s *apiStore) Batch(as []*Append) error {
	acks := make([]Pending, len(as))
	for i, a := range as {
		acks[i], _ = s.Start(a)
	}
	for i, a := range as {
		a.Err = acks[i].Wait()
	}
	return nil
}

func (s *apiStore) Count() (int64, error) {
	return s.typed.Count(context.Background())
}

func (s *apiStore) Close() error { return s.db.Close() }

// WithPolicy returns p, which uses the typed API, with another snapshot policy.
func WithPolicy(p Peer, policy savepoint.SnapshotPolicy) Peer {
	cache := int64(cacheDefault)
	if p.Name == API {
		cache = cacheOfAll
	}
	p.Open = func(dir string, load *workload.Load) (Store, error) { return OpenAPI(dir, load, cache, policy) }
	return p
}
