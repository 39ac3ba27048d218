// Package codec turns Go values into msgpack bytes and back, and is the only package that knows msgpack.
//
// Three promises hold for every function of this package:
//
//  1. No byte is decoded before Scan has accepted it, and Marshal returns nothing that Scan, or Unmarshal into an any,
//     would refuse: whatever was written can be read. (The one exception is a map[any]any that holds one number as a key
//     twice, in two integer types.)
//  2. A result shares no memory with its input.
//  3. A panic in a method of the caller's types (MarshalMsg, EncodeMsgpack, UnmarshalMsg, ...) is an error, not a crash.
//
// Values without a Go type of their own are documents: nil, bool, int64, uint64 (only above the largest int64), float64,
// string, []byte, time.Time in UTC, []any, map[string]any and map[int64]any, and nothing else.
//
// All functions may be called by any number of goroutines at once.
package codec
