package bolt

import (
	"encoding/binary"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// The file's buckets; docs/FORMAT.md has their keys and values. What a machine
// has in events and snapshots stands under its number.
var (
	bucketMeta      = []byte("meta")
	bucketCounters  = []byte("counters")
	bucketMachines  = []byte("machines")
	bucketEvents    = []byte("events")
	bucketSnapshots = []byte("snapshots")
	bucketPositions = []byte("positions")
	bucketNumbers   = []byte("numbers")
	bucketIndexes   = []byte("indexes")
	bucketJournal   = []byte("journal")

	bucketDictionaries = []byte("dictionaries")
	bucketCopies       = []byte("copies") // of bucket dictionaries
)

// The keys of bucket meta, and the one of bucket counters, which has a bucket
// of its own so that bbolt keeps it in the root page, which each transaction
// rewrites anyway.
var (
	metaFile        = []byte("file")
	metaMark        = []byte("mark")
	metaNote        = "note/"
	countersLast    = []byte("last")
	countersJournal = []byte("ring")

	countersVersions = []byte("versions")

	journalValue = []byte("ring") // the only key of bucket journal, made once and never put again
)

// valueKeyLen is the length of a key in events and snapshots: machine number and
// seq, big-endian. A piece other than the first has its number behind them.
const (
	valueKeyLen = 16
	pieceKeyLen = 20
)

func appendValueKey(b []byte, number, seq uint64) []byte {
	b = binary.BigEndian.AppendUint64(b, number)
	return binary.BigEndian.AppendUint64(b, seq)
}

func appendPieceKey(b []byte, number, seq uint64, piece uint32) []byte {
	b = appendValueKey(b, number, seq)
	if piece == 0 {
		return b
	}
	return binary.BigEndian.AppendUint32(b, piece)
}

// splitValueKey is the reverse; ok is false for a key that is none.
func splitValueKey(k []byte) (number, seq uint64, piece uint32, ok bool) {
	if len(k) != valueKeyLen && len(k) != pieceKeyLen {
		return 0, 0, 0, false
	}
	number, seq = binary.BigEndian.Uint64(k), binary.BigEndian.Uint64(k[8:])
	if len(k) == pieceKeyLen {
		piece = binary.BigEndian.Uint32(k[valueKeyLen:])
	}
	return number, seq, piece, true
}

// initialMmap is reserved at open, so that a growing file does not wait for
// readers before it can be mapped anew. It takes addresses, not memory.
const initialMmap = 1 << 30

// handle is an open bbolt file. Nothing but the engine's guard calls it.
type handle struct {
	db *bbolt.DB
}

// openHandle opens the file that open returns, already locked and checked.
func openHandle(path string, readOnly bool, mode os.FileMode, mmap int, open func(string, int, os.FileMode) (*os.File, error)) (*handle, error) {
	db, err := bbolt.Open(path, mode, &bbolt.Options{
		Timeout:         time.Second, // the lock is already held
		ReadOnly:        readOnly,
		InitialMmapSize: mmap,
		FreelistType:    bbolt.FreelistMapType,
		OpenFile:        open,
	})
	if err != nil {
		return nil, err
	}
	return &handle{db: db}, nil
}

// How much a file grows at a time: a quarter of itself, within bounds. bbolt
// alone makes it 16 MiB at once.
const (
	leastGrowth = 256 << 10
	mostGrowth  = 64 << 20
)

// begin starts a transaction. A caught panic leaves it behind as it is: the
// handle is dead then, and nothing of it may be called any more.
func (h *handle) begin(write bool) (*txn, error) {
	tx, err := h.db.Begin(write)
	if err != nil {
		return nil, err
	}
	if write { // nobody else looks at it now
		h.db.AllocSize = int(min(max(tx.Size()/4, leastGrowth), mostGrowth))
	}
	return &txn{
		tx:        tx,
		meta:      tree{tx: tx, name: bucketMeta},
		counters:  tree{tx: tx, name: bucketCounters},
		machines:  tree{tx: tx, name: bucketMachines},
		events:    tree{tx: tx, name: bucketEvents},
		snapshots: tree{tx: tx, name: bucketSnapshots},
		positions: tree{tx: tx, name: bucketPositions},
		numbers:   tree{tx: tx, name: bucketNumbers},
		indexes:   tree{tx: tx, name: bucketIndexes},

		dictionaries: tree{tx: tx, name: bucketDictionaries},
		copies:       tree{tx: tx, name: bucketCopies},
	}, nil
}

func (h *handle) close() error { return h.db.Close() }

// txn is a transaction and its buckets.
type txn struct {
	tx                                          *bbolt.Tx
	meta, counters, machines, events, snapshots tree
	positions, numbers, indexes                 tree // of the feed and queries; older files have none
	dictionaries, copies                        tree // older files have none
}

func (tx *txn) trees() []*tree {
	return []*tree{&tx.meta, &tx.counters, &tx.machines, &tx.events, &tx.snapshots}
}

// create makes the buckets that are not there.
func (tx *txn) create() error {
	for _, t := range append(tx.trees(), &tx.positions, &tx.numbers, &tx.indexes, &tx.dictionaries, &tx.copies) {
		if _, err := tx.tx.CreateBucketIfNotExists(t.name); err != nil {
			return err
		}
		t.b = nil
	}
	return nil
}

// missing names the first bucket that is not there.
func (tx *txn) missing() string {
	for _, t := range tx.trees() {
		if !t.there() {
			return string(t.name)
		}
	}
	return ""
}

// journalRoot is the page that holds the ring, 0 where there is none. Nothing but
// createJournal and removeJournal may change the bucket: bbolt would move the ring.
func (tx *txn) journalRoot() (root uint64, there bool) {
	b := tx.tx.Bucket(bucketJournal)
	if b == nil {
		return 0, false
	}
	return uint64(b.Root()), true
}

// createJournal makes the bucket with the ring in it.
func (tx *txn) createJournal(value []byte) error {
	b, err := tx.tx.CreateBucket(bucketJournal)
	if err != nil {
		return err
	}
	return b.Put(journalValue, value)
}

// removeJournal frees the ring's pages.
func (tx *txn) removeJournal() error { return tx.tx.DeleteBucket(bucketJournal) }

func (h *handle) pageSize() int64 { return int64(h.db.Info().PageSize) }

func (tx *txn) id() uint64      { return uint64(tx.tx.ID()) }
func (tx *txn) commit() error   { return tx.tx.Commit() }
func (tx *txn) rollback() error { return tx.tx.Rollback() }

// tree is one bucket in a transaction, looked up when it is first used. Keys
// and values it returns die with the transaction; values put into it must live
// as long.
type tree struct {
	tx   *bbolt.Tx
	name []byte
	b    *bbolt.Bucket
}

func (t *tree) bucket() *bbolt.Bucket {
	if t.b == nil {
		t.b = t.tx.Bucket(t.name)
	}
	return t.b
}

func (t *tree) there() bool                 { return t.bucket() != nil }
func (t *tree) get(key []byte) []byte       { return t.bucket().Get(key) }
func (t *tree) put(key, value []byte) error { return t.bucket().Put(key, value) }
func (t *tree) remove(key []byte) error     { return t.bucket().Delete(key) }
func (t *tree) cursor() cursor              { return cursor{t.bucket().Cursor()} }

// cursor walks a bucket. It is invalid after a put or remove.
type cursor struct{ c *bbolt.Cursor }

func (c cursor) seek(key []byte) (k, v []byte) { return c.c.Seek(key) }
func (c cursor) next() (k, v []byte)           { return c.c.Next() }
func (c cursor) prev() (k, v []byte)           { return c.c.Prev() }
func (c cursor) first() (k, v []byte)          { return c.c.First() }
func (c cursor) last() (k, v []byte)           { return c.c.Last() }

// before is the last key below key. In a transaction that has removed keys it
// may find none where there is one.
func (c cursor) before(key []byte) (k, v []byte) {
	if k, _ := c.c.Seek(key); k == nil {
		return c.c.Last()
	}
	return c.c.Prev()
}
