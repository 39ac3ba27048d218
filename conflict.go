package savepoint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/liap-tui/savepoint/internal/codec"
)

// ConflictPolicy says what a Save does whose IfSeq is not where the machine is.
// base is the state at that seq, mine the one to be saved, theirs the live one.
type ConflictPolicy uint8

// What a Save does in a conflict.
const (
	// ConflictRefuse answers a *ConflictError.
	ConflictRefuse ConflictPolicy = iota
	// ConflictUseLatest keeps theirs: nothing is stored, and Save answers its
	// Head.
	ConflictUseLatest
	// ConflictUseIncoming saves mine, as without IfSeq.
	ConflictUseIncoming
	// ConflictMerge saves what both changed since base, as documents: map by map,
	// key by key; lists and other values are taken whole. Where both changed one
	// value in different ways it answers a *ConflictError with the places.
	ConflictMerge
	// ConflictManual answers a *ConflictError with all three states.
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

// states says whether the policy looks at the states.
func (k *kind) comparesStates() bool {
	return k.merge != nil || k.onConflict == ConflictMerge || k.onConflict == ConflictManual
}

// mergeBase is the state that both sides of a conflict began with.
type mergeBase struct {
	asked bool
	value any   // *S, nil if it is not known
	err   error // why not
}

// resolveConflict is what a Save stores in a conflict: enc as it is or merged, or
// nil for nothing.
func (d *draft) resolveConflict(c *ConflictError, enc []byte, base *mergeBase) ([]byte, error) {
	k := d.m.kind
	if !d.m.exists() || c.Want > c.Have {
		return nil, c
	}
	if !k.comparesStates() {
		switch k.onConflict {
		case ConflictUseLatest:
			return nil, nil
		case ConflictUseIncoming:
			return enc, nil
		}
		return nil, c
	}
	if !base.asked {
		c.base = base
		return nil, c
	}
	now, err := k.encode(d.value())
	if err != nil {
		return nil, err
	}
	if k.onConflict == ConflictManual {
		return nil, k.bothSides(c, base, enc, now)
	}
	if base.value == nil {
		return nil, errors.Join(c, fmt.Errorf("nothing to merge from: %w", base.err))
	}
	if k.merge != nil {
		mine, theirs, err := k.sides(enc, now)
		if err != nil {
			return nil, err
		}
		return k.merge(base.value, mine, theirs)
	}
	began, err := k.encode(base.value)
	if err != nil {
		return nil, err
	}
	return mergeEncoded(c, began, enc, now)
}

// sides are both states, decoded, for the caller to keep.
func (k *kind) sides(mine, theirs []byte) (m, t any, err error) {
	if m, err = k.decode(mine); err == nil {
		t, err = k.decode(theirs)
	}
	if err != nil {
		return nil, nil, err
	}
	return k.value(m), k.value(t), nil
}

func (k *kind) bothSides(c *ConflictError, base *mergeBase, mine, theirs []byte) error {
	m, t, err := k.sides(mine, theirs)
	if err != nil {
		return err
	}
	c.Mine, c.Theirs = k.plain(m), k.plain(t)
	if base.value != nil {
		c.Base = k.plain(base.value)
	}
	return c
}

// mergeEncoded merges encoded documents.
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

// merger merges documents and collects the places where it cannot.
type merger struct{ where []string }

// absentValue stands for what a map does not have.
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

// mapsOf are all three as maps with keys K; base may be anything else, then both
// sides made theirs anew.
func mapsOf[K cmp.Ordered](base, mine, theirs any) (a, b, c map[K]any, ok bool) {
	a, _ = mapOf[K](base)
	b, x := mapOf[K](mine)
	c, y := mapOf[K](theirs)
	return a, b, c, x && y
}

// mapOf is v as a map with keys K; an empty one has no keys of any type.
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
