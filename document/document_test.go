package document_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
)

// The untyped kind normalises numbers, merges updates into the document, and refuses a
// transition from another phase than the machine's.
//
// row D8
func TestKind_NormalisesAndMerges(t *testing.T) {
	for name, path := range map[string]string{"memory": savepoint.Memory, "file": filepath.Join(t.TempDir(), "game.db")} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			db, err := savepoint.Open(path, nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			s, err := savepoint.Register(db, document.Kind("room"))
			require.NoError(t, err)
			at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
			_, err = s.Append(ctx, "r", document.Transition{Action: "deal", To: "turn", Payload: map[string]any{"n": uint8(3)},
				Update: map[string]any{
					"i": int8(1), "u": uint16(2), "f": float32(0.5), "s": "x", "b": true, "raw": []byte{1}, "at": at,
					"hands": map[int]any{1: []string{"7H"}, 2: nil}, "deep": map[string]any{"a": 1, "b": 2}}}, savepoint.By("ann"))
			require.NoError(t, err)
			_, err = s.Append(ctx, "r", document.Update{Set: map[string]any{"deep": map[string]any{"b": 3}}, Remove: []string{"raw"}})
			require.NoError(t, err)
			st, err := s.Load(ctx, "r")
			require.NoError(t, err)
			assert.Equal(t, "turn", st.Phase)
			assert.Equal(t, savepoint.Doc{"phase": "turn", "i": int64(1), "u": int64(2), "f": 0.5, "s": "x", "b": true, "at": at,
				"hands": map[int64]any{1: []any{"7H"}, 2: nil}, "deep": map[string]any{"a": int64(1), "b": int64(3)}}, st.Value)
			_, err = s.Append(ctx, "r", document.Transition{Action: "deal", From: "waiting", To: "turn"})
			require.ErrorContains(t, err, `from phase "waiting", the machine is in "turn"`)
			for rec, err := range s.Events(ctx, "r", savepoint.EventRange{To: 1}) {
				require.NoError(t, err)
				e := rec.Event.(document.Transition)
				assert.Equal(t, "deal", e.Action)
				assert.Equal(t, map[string]any{"n": int64(3)}, e.Payload)
				assert.Equal(t, "turn", rec.To)
			}
			rep, err := s.Verify(ctx, "r")
			require.NoError(t, err)
			assert.True(t, rep.OK(), "%v", rep.Divergences)
		})
	}
}
