package savepoint

import (
	"encoding/base64"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCursor_TextIsStable holds the text of a cursor, which programs keep over restarts and updates, with the checksum of the
// query. A text that is cut short or continued is no cursor.
func TestCursor_TextIsStable(t *testing.T) {
	q := Query{Kind: "game", ID: "g-42", Since: time.Unix(1, 2), Until: time.Unix(3, 4), From: "a", To: "b", Name: "c", Actor: "d",
		Origin: OriginTimeout, Correlation: "e", Newest: true, Limit: 7, Cursor: "not in the sum"}
	want := cursor{query: q.sum(), pos: 1000, seq: 17, number: 3}
	const text = "AX5Di2boBxED"
	require.Equal(t, text, want.String())
	var have cursor
	require.NoError(t, have.parse(text, q.sum()))
	require.Equal(t, want, have)
	b, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	for i := 1; i < len(b); i++ {
		require.ErrorIs(t, have.parse(base64.RawURLEncoding.EncodeToString(b[:i]), q.sum()), ErrBadCursor, "%d bytes", i)
	}
	require.ErrorIs(t, have.parse(base64.RawURLEncoding.EncodeToString(append(b, 0)), q.sum()), ErrBadCursor)
}

// TestCursor_BelongsToItsQuery holds that a cursor of one query is refused by another
// one, whichever field of Query differs: only Limit may change from page to page.
func TestCursor_BelongsToItsQuery(t *testing.T) {
	free := map[string]bool{"Limit": true, "Cursor": true}
	var q Query
	fields := reflect.TypeFor[Query]()
	for i := range fields.NumField() {
		other := q
		switch f := reflect.ValueOf(&other).Elem().Field(i); v := f.Addr().Interface().(type) {
		case *string:
			*v = "x"
		case *bool:
			*v = true
		case *int:
			*v = 1
		case *time.Time:
			*v = time.Unix(1, 0)
		case *Origin:
			*v = OriginTimeout
		default:
			t.Fatalf("the test does not know the type of %s", fields.Field(i).Name)
		}
		require.Equal(t, free[fields.Field(i).Name], q.sum() == other.sum(), fields.Field(i).Name)
	}
}
