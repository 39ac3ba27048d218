package peer

import (
	"path/filepath"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/bench/workload"
)

// openRaftBolt opens hashicorp/raft-boltdb: the log in bbolt, a transaction for
// a batch. Settings: as Consul's, with the freelist in a map; syncs on.
func openRaftBolt(dir string, _ *workload.Load) (Store, error) {
	log, err := raftboltdb.New(raftboltdb.Options{
		Path:        filepath.Join(dir, "raft.db"),
		BoltOptions: &bbolt.Options{Timeout: time.Second, InitialMmapSize: 1 << 30, FreelistType: bbolt.FreelistMapType},
	})
	if err != nil {
		return nil, err
	}
	s := &raftStore{log: log}
	return s, s.start()
}
