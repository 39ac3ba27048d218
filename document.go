package savepoint

// Doc is a state or an event as a document: nil, bool, int64, float64, string,
// []byte, time.Time, []any, map[string]any and map[int64]any. Migrations get and
// return it; the kind of package document has it as its state. When a Doc is
// stored, other numbers and maps are converted to these types.
type Doc map[string]any
