package savepoint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/liap-tui/savepoint/internal/codec"
)

// ConflictPolicy says what a Save does whose IfSeq is not the machine's seq. Below,
// base is the state at that seq, mine the state to be saved, theirs the live one.
type ConflictPolicy uint8

// What a Save does in a conflict.
const (
	// ConflictRefuse returns a *ConflictError.
	ConflictRefuse ConflictPolicy = iota
	// ConflictUseLatest keeps theirs: Save stores nothing and returns its Head.
	ConflictUseLatest
	// ConflictUseIncoming saves mine, as a Save without IfSeq does.
	ConflictUseIncoming
	// ConflictMerge saves what both sides changed since base. States are compared as
	// documents, map by map and key by key; lists and other values are taken as a whole.
	// Where both sides changed one value in different ways, Save returns a
	// *ConflictError whose Where lists the places.
	ConflictMerge
	// ConflictManual returns a *ConflictError with all three states.
	ConflictManual
)

func (p ConflictPolicy) validate(own bool) error {
	switch {
	case p > ConflictManual:
		return fmt.Errorf("conflict policy %d does not exist", uint8(p))
	case own && p != ConflictRefuse && p != ConflictMerge:
		return errors.New("conflicts are decided by Merge: leave OnConflict out")
	}
	return nil
}

// mergeBase is the state that both sides of a conflict started from. Save looks it up
// after the first attempt, without the machine's lock.
type mergeBase struct {
	asked bool  // Save has looked it up
	value any   // *S; nil if the state is not known
	err   error // why it is not known
}

// resolve returns what a Save stores in a conflict: enc as it is, or merged with the
// live state, or nil for nothing.
func (b *mergeBase) resolve(d *draft, c *ConflictError, enc []byte) ([]byte, error) {
	k := d.m.kind
	if !d.m.exists() || c.Want > c.Have {
		return nil, c
	}
	if k.merge == nil {
		switch k.onConflict {
		case ConflictRefuse:
			return nil, c
		case ConflictUseLatest:
			return nil, nil
		case ConflictUseIncoming:
			return enc, nil
		}
	}
	if !b.asked {
		c.base = b
		return nil, c
	}
	now, err := k.encode(d.value())
	if err != nil {
		return nil, err
	}
	if k.onConflict == ConflictManual {
		return nil, b.addSides(k, c, enc, now)
	}
	if b.value == nil {
		return nil, errors.Join(c, fmt.Errorf("nothing to merge from: %w", b.err))
	}
	if k.merge != nil {
		mine, theirs, err := decodeSides(k, enc, now)
		if err != nil {
			return nil, err
		}
		return k.merge(b.value, mine, theirs)
	}
	began, err := k.encode(b.value)
	if err != nil {
		return nil, err
	}
	return mergeEncoded(c, began, enc, now)
}

// addSides returns c with the three states, each the caller's own.
func (b *mergeBase) addSides(k *kind, c *ConflictError, mine, theirs []byte) error {
	m, t, err := decodeSides(k, mine, theirs)
	if err != nil {
		return err
	}
	c.Mine, c.Theirs = k.plain(m), k.plain(t)
	if b.value != nil {
		c.Base = k.plain(b.value)
	}
	return c
}

// decodeSides decodes both states into a *S each.
func decodeSides(k *kind, mine, theirs []byte) (m, t any, err error) {
	if m, err = k.decode(mine); err == nil {
		t, err = k.decode(theirs)
	}
	if err != nil {
		return nil, nil, err
	}
	return k.value(m), k.value(t), nil
}

// mergeEncoded merges encoded documents, or returns c with the places that both sides
// changed.
func mergeEncoded(c *ConflictError, base, mine, theirs []byte) ([]byte, error) {
	var docs [3]any
	for i, b := range [][]byte{base, mine, theirs} {
		var err error
		if docs[i], err = codec.Document(b); err != nil {
			return nil, err
		}
	}
	m := merger{}
	merged := m.merge("", docs[0], docs[1], docs[2])
	if len(m.where) > 0 {
		c.Where = m.where
		return nil, c
	}
	return codec.Marshal(merged)
}

// merger merges documents and collects the paths of the values that it cannot merge.
type merger struct{ where []string }

// absentValue is the value of a key that a map does not have.
type absentValue struct{}

func (m *merger) merge(path string, base, mine, theirs any) any {
	switch {
	case sameValue(mine, theirs) || sameValue(base, theirs):
		return mine
	case sameValue(base, mine):
		return theirs
	}
	if a, b, c, ok := mapsOf[string](base, mine, theirs); ok {
		return mergeMaps(m, path, a, b, c)
	}
	if a, b, c, ok := mapsOf[int64](base, mine, theirs); ok {
		return mergeMaps(m, path, a, b, c)
	}
	m.where = append(m.where, path)
	return mine
}

func sameValue(a, b any) bool {
	_, x := a.(absentValue)
	_, y := b.(absentValue)
	if x || y {
		return x && y
	}
	return codec.Equal(a, b)
}

// mapsOf returns all three values as maps with keys of type K. base may be another
// value, which counts as an empty map: both sides then put a map in its place.
func mapsOf[K cmp.Ordered](base, mine, theirs any) (a, b, c map[K]any, ok bool) {
	a, _ = mapOf[K](base)
	b, x := mapOf[K](mine)
	c, y := mapOf[K](theirs)
	return a, b, c, x && y
}

// mapOf returns v as a map with keys of type K, and whether it is one. An empty map
// is one of every type.
func mapOf[K cmp.Ordered](v any) (m map[K]any, ok bool) {
	switch v := v.(type) {
	case map[K]any:
		return v, true
	case map[string]any:
		return nil, len(v) == 0
	}
	return nil, false
}

func mergeMaps[K cmp.Ordered](m *merger, path string, base, mine, theirs map[K]any) map[K]any {
	keys := map[K]bool{}
	for _, side := range []map[K]any{base, mine, theirs} {
		for k := range side {
			keys[k] = true
		}
	}
	at := func(side map[K]any, k K) any {
		if v, there := side[k]; there {
			return v
		}
		return absentValue{}
	}
	out := map[K]any{}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		sub := fmt.Sprint(k)
		if path != "" {
			sub = path + "." + sub
		}
		v := m.merge(sub, at(base, k), at(mine, k), at(theirs, k))
		if _, gone := v.(absentValue); !gone {
			out[k] = v
		}
	}
	return out
}
