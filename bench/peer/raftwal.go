package peer

import (
	"errors"

	"github.com/hashicorp/go-hclog"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"github.com/liap-tui/savepoint/bench/workload"
)

// openRaftWAL opens hashicorp/raft-wal: preallocated segments, one sync for a
// batch. Settings: the defaults (segments of 64 MiB), silent.
func openRaftWAL(dir string, _ *workload.Load) (Store, error) {
	meta := &metadb.BoltMetaDB{}
	log, err := raftwal.Open(dir, raftwal.WithLogger(hclog.NewNullLogger()), raftwal.WithMetaStore(meta))
	if err != nil {
		return nil, err
	}
	s := &raftStore{log: &raftWAL{log, meta}}
	return s, s.start()
}

// raftWAL closes its list of segments too, which a WAL leaves open.
type raftWAL struct {
	*raftwal.WAL
	meta *metadb.BoltMetaDB
}

func (w *raftWAL) Close() error { return errors.Join(w.WAL.Close(), w.meta.Close()) }
