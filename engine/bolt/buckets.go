package bolt

import (
	"encoding/binary"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// The file's buckets; docs/FORMAT.md describes their keys and values. In events and
// snapshots the keys start with the machine's number.
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

// The keys of buckets meta, counters and journal. Bucket counters is separate from
// meta because bbolt stores so small a bucket inside the root page, which every
// transaction rewrites anyway.
var (
	metaFile        = []byte("file")
	metaMark        = []byte("mark")
	metaNote        = "note/"
	countersLast    = []byte("last")
	countersJournal = []byte("ring")

	countersVersions = []byte("versions")

	journalValue = []byte("ring") // the only key of bucket journal; it is put when the bucket is created, and never again
)

// valueKeyLen is the length of a key in events and snapshots: machine number and
// seq, big-endian. The key of a piece other than the first ends with the number of
// the piece.
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

// splitValueKey reverses appendPieceKey; ok is false if k has another length.
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

// appendValueAfter appends a key after all pieces of seq and before any higher seq.
func appendValueAfter(b []byte, number, seq uint64) []byte {
	return append(appendPieceKey(b, number, seq, ^uint32(0)), 0xff)
}

// initialMmap is the size of the initial memory map: while the file is smaller, its
// growth does not have to wait for readers before it is mapped again. It reserves
// addresses, not memory.
const initialMmap = 1 << 30

// handle is an open bbolt file. Methods that read or write pages are called inside
// guarded only, since bbolt panics on damaged pages.
type handle struct {
	db *bbolt.DB
}

// openHandle opens the file that open returns, which is locked and checked.
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

// The bounds of the growth of a file, which grows by a quarter of its size. bbolt's
// default is 16 MiB.
const (
	minGrowth = 256 << 10
	maxGrowth = 64 << 20
)

// begin starts a transaction. After a caught panic it is neither committed nor
// rolled back: the handle is dead then, and none of its methods may be called.
func (h *handle) begin(write bool) (*txn, error) {
	tx, err := h.db.Begin(write)
	if err != nil {
		return nil, err
	}
	if write { // AllocSize is read by write transactions only
		h.db.AllocSize = int(min(max(tx.Size()/4, minGrowth), maxGrowth))
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
	positions, numbers, indexes                 tree // for Feed and Query; missing in older files
	dictionaries, copies                        tree // missing in older files
}

// trees returns the buckets that every file has.
func (tx *txn) trees() []*tree {
	return []*tree{&tx.meta, &tx.counters, &tx.machines, &tx.events, &tx.snapshots}
}

// create creates the buckets that are missing.
func (tx *txn) create() error {
	for _, t := range append(tx.trees(), &tx.positions, &tx.numbers, &tx.indexes, &tx.dictionaries, &tx.copies) {
		if _, err := tx.tx.CreateBucketIfNotExists(t.name); err != nil {
			return err
		}
		t.b = nil
	}
	return nil
}

// missing returns the name of the first bucket that is missing, or "".
func (tx *txn) missing() string {
	for _, t := range tx.trees() {
		if !t.there() {
			return string(t.name)
		}
	}
	return ""
}

// journalRoot returns the first page of the journal's value. Nothing but
// createJournal and removeJournal may change the bucket (R5), since bbolt would
// move the value.
func (tx *txn) journalRoot() (root uint64, there bool) {
	b := tx.tx.Bucket(bucketJournal)
	if b == nil {
		return 0, false
	}
	return uint64(b.Root()), true
}

// listRoot returns the root page of the list of buckets.
func (tx *txn) listRoot() uint64 { return uint64(tx.tx.Cursor().Bucket().Root()) }

// names returns the names of all buckets, in order.
func (tx *txn) names() (names []string, err error) {
	err = tx.tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		names = append(names, string(name))
		return nil
	})
	return names, err
}

// tree returns the bucket of that name.
func (tx *txn) tree(name string) tree { return tree{tx: tx.tx, name: []byte(name)} }

// root returns the root page of the bucket, 0 if the bucket is stored in the list
// of buckets.
func (t *tree) root() uint64 { return uint64(t.bucket().Root()) }

// createJournal creates the bucket and stores the journal's value in it.
func (tx *txn) createJournal(value []byte) error {
	b, err := tx.tx.CreateBucket(bucketJournal)
	if err != nil {
		return err
	}
	return b.Put(journalValue, value)
}

// removeJournal removes the bucket and frees its pages.
func (tx *txn) removeJournal() error { return tx.tx.DeleteBucket(bucketJournal) }

func (h *handle) pageSize() int64 { return int64(h.db.Info().PageSize) }

func (tx *txn) id() uint64      { return uint64(tx.tx.ID()) }
func (tx *txn) size() int64     { return tx.tx.Size() } // of its pages, not of the file
func (tx *txn) commit() error   { return tx.tx.Commit() }
func (tx *txn) rollback() error { return tx.tx.Rollback() }

// tree is one bucket in a transaction, looked up when it is first used. Keys and
// values that it returns are valid until the transaction ends. A value put into it
// must not be changed until then; a key may be changed at once, since bbolt copies it.
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

// cursor iterates over the keys of a bucket. It is invalid after a put or remove.
type cursor struct{ c *bbolt.Cursor }

func (c cursor) seek(key []byte) (k, v []byte) { return c.c.Seek(key) }
func (c cursor) next() (k, v []byte)           { return c.c.Next() }
func (c cursor) prev() (k, v []byte)           { return c.c.Prev() }
func (c cursor) first() (k, v []byte)          { return c.c.First() }
func (c cursor) last() (k, v []byte)           { return c.c.Last() }

// before returns the last key below key, nil if no key is below it. In a transaction
// that has removed keys it may return nil although there is one.
func (c cursor) before(key []byte) (k, v []byte) {
	if k, _ := c.c.Seek(key); k == nil {
		return c.c.Last()
	}
	return c.c.Prev()
}
