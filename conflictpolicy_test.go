package savepoint_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// disagree saves base, then theirs, and then mine as if base were still the newest state.
func disagree(t *testing.T, change func(*savepoint.Kind[table]), base, theirs, mine table) (*savepoint.Store[table], savepoint.Head, error) {
	t.Helper()
	k := tableKind()
	k.Legal = nil
	if change != nil {
		change(&k)
	}
	s, err := savepoint.Register(open(t, savepoint.Memory, nil), k)
	require.NoError(t, err)
	ctx := t.Context()
	h, err := s.Save(ctx, "g", base)
	require.NoError(t, err)
	_, err = s.Save(ctx, "g", theirs, savepoint.IfSeq(h.Seq))
	require.NoError(t, err)
	h, err = s.Save(ctx, "g", mine, savepoint.IfSeq(h.Seq))
	return s, h, err
}

// TestConflict_Policies saves against a newer state under each policy and strategy: refuse, use the latest, use the incoming,
// and manual, which returns all three states.
// row F14, F15
func TestConflict_Policies(t *testing.T) {
	base := table{Phase: "turn", Note: "base", Turn: 1}
	theirs, mine := table{Phase: "turn", Note: "theirs", Turn: 1}, table{Phase: "turn", Note: "mine", Turn: 1}
	for _, strategy := range strategies {
		on := func(p savepoint.ConflictPolicy) func(*savepoint.Kind[table]) {
			return func(k *savepoint.Kind[table]) { k.OnConflict, k.Strategy = p, strategy }
		}
		s, _, err := disagree(t, on(savepoint.ConflictRefuse), base, theirs, mine)
		var c *savepoint.ConflictError
		require.ErrorAs(t, err, &c)
		assert.Equal(t, []any{uint64(1), uint64(2), nil, nil}, []any{c.Want, c.Have, c.Mine, c.Theirs})
		assert.Equal(t, "theirs", load(t, s, "g").Value.Note)

		s, h, err := disagree(t, on(savepoint.ConflictUseLatest), base, theirs, mine)
		require.NoError(t, err)
		assert.EqualValues(t, 2, h.Seq, "use the latest: nothing is written")
		assert.Equal(t, "theirs", load(t, s, "g").Value.Note)

		s, h, err = disagree(t, on(savepoint.ConflictUseIncoming), base, theirs, mine)
		require.NoError(t, err)
		assert.EqualValues(t, 3, h.Seq)
		assert.Equal(t, "mine", load(t, s, "g").Value.Note, "use the incoming")

		s, _, err = disagree(t, on(savepoint.ConflictManual), base, theirs, mine)
		require.ErrorAs(t, err, &c)
		assert.Equal(t, base, c.Base)
		assert.Equal(t, mine, c.Mine)
		assert.Equal(t, theirs, c.Theirs)
		assert.Equal(t, "theirs", load(t, s, "g").Value.Note)
	}
}

// TestConflict_Merge merges changes of different fields and map entries, and refuses when both sides changed the same one.
// row F15
func TestConflict_Merge(t *testing.T) {
	base := table{Phase: "turn", Note: "n", Turn: 1, Seats: []string{"ann"}, Scores: map[string]int{"ann": 1, "bob": 2, "cat": 3},
		Hands: map[int][]string{0: {"7H"}, 1: {"8H"}}}
	theirs := table{Phase: "turn", Note: "n", Turn: 2, Seats: []string{"ann"}, Scores: map[string]int{"ann": 9, "bob": 2, "dan": 4},
		Hands: map[int][]string{0: {"7H"}, 1: {}}}
	mine := table{Phase: "turn", Note: "m", Turn: 1, Seats: []string{"ann", "bob"}, Scores: map[string]int{"ann": 1, "bob": 8, "cat": 3},
		Hands: map[int][]string{1: {"8H"}}}
	merge := func(k *savepoint.Kind[table]) { k.OnConflict = savepoint.ConflictMerge }
	s, h, err := disagree(t, merge, base, theirs, mine)
	require.NoError(t, err)
	assert.EqualValues(t, 3, h.Seq)
	assert.Equal(t, table{Phase: "turn", Note: "m", Turn: 2, Seats: []string{"ann", "bob"}, Scores: map[string]int{"ann": 9, "bob": 8, "dan": 4},
		Hands: map[int][]string{1: {}}}, load(t, s, "g").Value)

	mine.Scores["ann"], mine.Hands[1] = 7, []string{"9H"}
	s, _, err = disagree(t, merge, base, theirs, mine)
	var c *savepoint.ConflictError
	require.ErrorAs(t, err, &c)
	assert.Equal(t, []string{"Hands.1", "Scores.ann"}, c.Where)
	assert.ErrorContains(t, err, "both sides changed Hands.1, Scores.ann")
	assert.EqualValues(t, 2, load(t, s, "g").Seq, "nothing is stored")
}

// TestConflict_OwnFunction decides a conflict with the kind's Merge: when it fails, panics or returns an invalid state, nothing
// is stored.
// row F15
func TestConflict_OwnFunction(t *testing.T) {
	base := table{Phase: "turn", Scores: map[string]int{"ann": 1}}
	theirs, mine := table{Phase: "turn", Scores: map[string]int{"ann": 4}}, table{Phase: "turn", Scores: map[string]int{"ann": 3}}
	s, h, err := disagree(t, func(k *savepoint.Kind[table]) {
		k.Merge = func(base, mine, theirs table) (table, error) {
			theirs.Scores["ann"] += mine.Scores["ann"] - base.Scores["ann"]
			return theirs, nil
		}
	}, base, theirs, mine)
	require.NoError(t, err)
	assert.EqualValues(t, 3, h.Seq)
	assert.Equal(t, 6, load(t, s, "g").Value.Scores["ann"])

	for _, bad := range []func(base, mine, theirs table) (table, error){
		func(_, _, theirs table) (table, error) { theirs.Scores["ann"] = 99; return theirs, errors.New("no") },
		func(_, _, theirs table) (table, error) { theirs.Scores["ann"] = 99; panic("no") },
		func(_, _, theirs table) (table, error) { theirs.Note = "invalid by "; return theirs, nil },
	} {
		s, _, err := disagree(t, func(k *savepoint.Kind[table]) { k.Merge = bad }, base, theirs, mine)
		require.Error(t, err)
		assert.Equal(t, theirs, load(t, s, "g").Value, "the stored state is the same")
	}
}

// TestConflict_MissingSide saves where the base or the current state does not exist or is not kept: a ConflictError each time.
// Register refuses a kind with two ways to decide conflicts.
func TestConflict_MissingSide(t *testing.T) {
	ctx := t.Context()
	k := tableKind()
	k.Legal, k.OnConflict = nil, savepoint.ConflictMerge
	k.Strategy, k.Snapshot.Keep = savepoint.SnapshotOnly, 1
	s, err := savepoint.Register(open(t, savepoint.Memory, nil), k)
	require.NoError(t, err)
	var c *savepoint.ConflictError
	_, err = s.Save(ctx, "g", table{}, savepoint.IfSeq(3))
	require.ErrorAs(t, err, &c, "the machine does not exist")
	for range 3 {
		_, err = s.Save(ctx, "g", table{Phase: "turn"})
		require.NoError(t, err)
	}
	_, err = s.Save(ctx, "g", table{}, savepoint.IfSeq(9))
	require.ErrorAs(t, err, &c, "the machine never had that seq")
	_, err = s.Save(ctx, "g", table{}, savepoint.IfSeq(1))
	require.ErrorAs(t, err, &c)
	require.ErrorIs(t, err, savepoint.ErrNoPoint, "the state is not kept")
	_, err = s.Delete(ctx, "g")
	require.NoError(t, err)
	_, err = s.Save(ctx, "g", table{}, savepoint.IfSeq(2))
	require.ErrorAs(t, err, &c, "the machine is deleted")
	_, err = s.Save(ctx, "g", table{}, savepoint.IfSeq(0))
	require.NoError(t, err)

	k = tableKind()
	k.Merge, k.OnConflict = func(_, m, _ table) (table, error) { return m, nil }, savepoint.ConflictManual
	k.Revisions = 9
	_, err = savepoint.Register(open(t, savepoint.Memory, nil), k)
	require.ErrorContains(t, err, "conflicts are decided by Merge")
	require.ErrorContains(t, err, "naming of revisions 9")
}

// TestConflict_KeysComeFirst repeats a merged Save under its key: the first result comes back, nothing is merged twice.
func TestConflict_KeysComeFirst(t *testing.T) {
	ctx := t.Context()
	k := tableKind()
	k.Legal, k.OnConflict = nil, savepoint.ConflictMerge
	s, err := savepoint.Register(open(t, savepoint.Memory, nil), k)
	require.NoError(t, err)
	_, err = s.Save(ctx, "g", table{Phase: "turn"})
	require.NoError(t, err)
	_, err = s.Save(ctx, "g", table{Phase: "turn", Turn: 1})
	require.NoError(t, err)
	for range 2 {
		h, err := s.Save(ctx, "g", table{Phase: "turn", Note: "m"}, savepoint.IfSeq(1), savepoint.Key("k"))
		require.NoError(t, err)
		assert.EqualValues(t, 3, h.Seq)
	}
	assert.Equal(t, table{Phase: "turn", Note: "m", Turn: 1}, load(t, s, "g").Value)
}
