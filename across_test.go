package savepoint_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// TestAcross_BesideAppends: an Update over several machines gets its own answer,
// whatever else uses the room of its step again; the race detector sees when not.
func TestAcross_BesideAppends(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s, err := savepoint.Register(db, ledgerKind(-1))
	require.NoError(t, err)
	const n = 300
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range n {
				_, err := s.Append(t.Context(), fmt.Sprint("alone", w), entry(i))
				assert.NoError(t, err)
			}
		})
		all.Go(func() {
			for i := range n {
				assert.NoError(t, db.Update(t.Context(), func(tx *savepoint.Tx) error {
					for _, id := range []string{"a", "b"} {
						m, err := s.In(tx, id)
						if err != nil {
							return err
						}
						if err := m.Append(entry(i)); err != nil {
							return err
						}
					}
					return nil
				}))
			}
		})
	}
	all.Wait()
	for id, want := range map[string]uint64{"a": 4 * n, "b": 4 * n, "alone0": n, "alone3": n} {
		st, err := s.Load(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, want, st.Seq)
	}
}
