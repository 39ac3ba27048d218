package engine

import "context"

// Bucketer is an Engine that knows what takes the space of its store.
type Bucketer interface {
	// Buckets returns what each bucket of the store holds. It reads the store
	// piece by piece: Commit is never kept waiting for the whole of it, and no
	// piece of space is kept from being used again for long. So each bucket is of
	// about one moment, and the sums are exact where nothing is committed
	// meanwhile. A ctx that ends, ends it with its error.
	Buckets(ctx context.Context) (Usage, error)
}

// Usage is what the store of an engine holds, and the space it takes.
//
// If nothing is committed meanwhile, Pages is the sum of FreePages, SystemPages
// and the Pages of all buckets.
type Usage struct {
	// Buckets are all buckets, in the order of their names.
	Buckets []Bucket
	// FileBytes is the length of the file, 0 in memory. What the file has beyond
	// its pages is reserved for growing.
	FileBytes int64
	// PageBytes is the length of a page, 0 where there are none: then all numbers
	// of pages are 0.
	PageBytes int64
	// Pages are the pages of the file, used and free ones.
	Pages int64
	// FreePages are the pages that hold nothing. They are used again before the
	// file grows; those that reads under way still hold are among them.
	FreePages int64
	// SystemPages are the file's own: its header, the list of buckets and the
	// list of free pages.
	SystemPages int64
	// Journal is what is stored in the journal only, and in no bucket yet.
	Journal JournalUsage
}

// Bucket is one bucket of a store: a name and what it holds.
type Bucket struct {
	Name       string // the engine's own
	Entries    int64  // keys
	KeyBytes   int64  // of all keys
	ValueBytes int64  // of all values as they are stored, compressed or not
	Pages      int64  // whole pages; 0 of a small bucket that is part of the list of buckets
}

// JournalUsage is what a checkpoint will move from the journal to the buckets.
// The space of the journal itself is that of its bucket, full or empty.
type JournalUsage struct {
	Records int64 // events
	Bytes   int64 // of the writes with these events, snapshots and heads, before compression
}
