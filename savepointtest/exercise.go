package savepointtest

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/internal/codec"
)

// replays is how often Exercise replays: what depends on the order of a map or
// on chance differs sooner or later.
const replays = 4

// Exercise has play play one machine of the kind, in memory and with the
// program's own code, and then proves what savepoint relies on:
//
//   - each event of the kind was appended at least once;
//   - each event comes back from its encoding as it was;
//   - replays, several of them, give the states that were there: no Apply reads a
//     clock or a random source or depends on the order of a map, no Check changes
//     the state, nobody writes to a state that View or Machine.State lent him.
//
// The kind is hybrid here whatever it says, with a snapshot every few events. An
// error of play fails the test.
func Exercise[S any](t testing.TB, k savepoint.Kind[S], play func(ctx context.Context, s *savepoint.Store[S], id string) error) {
	t.Helper()
	if err := exercise(context.Background(), k, play); err != nil {
		t.Errorf("savepointtest: exercise %q: %v", k.Name, err)
	}
}

func exercise[S any](ctx context.Context, k savepoint.Kind[S], play func(context.Context, *savepoint.Store[S], string) error) (err error) {
	k.Strategy, k.Retention = savepoint.Hybrid, savepoint.RetentionPolicy{}
	k.Snapshot = savepoint.SnapshotPolicy{Events: 3, Keep: -1}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { at = at.Add(time.Second); return at }
	db, err := savepoint.Open(savepoint.Memory, &savepoint.Options{Now: clock})
	if err != nil {
		return err
	}
	defer func() {
		if e := db.Close(); err == nil {
			err = e
		}
	}()
	s, err := savepoint.Register(db, k)
	if err != nil {
		return err
	}
	const id = "exercise"
	if err := play(ctx, s, id); err != nil {
		return fmt.Errorf("play: %w", err)
	}
	missing := maps.Clone(k.Events)
	for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
		if err != nil {
			return err
		}
		delete(missing, rec.Name)
		if err := roundTrip(rec.Event); err != nil {
			return fmt.Errorf("record %d, event %q: %w", rec.Seq, rec.Name, err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("play did not append the events %q: let it", slices.Sorted(maps.Keys(missing)))
	}
	for range replays {
		rep, err := s.Verify(ctx, id)
		if err != nil {
			return err
		}
		if !rep.OK() {
			return fmt.Errorf("a replay does not give the state that was there: %s", rep.Divergences[0])
		}
	}
	return nil
}

// roundTrip encodes and decodes an event and compares.
func roundTrip(ev any) error {
	typ := reflect.TypeOf(ev)
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	b, err := codec.Marshal(ev)
	if err != nil {
		return err
	}
	again := reflect.New(typ).Interface()
	if err := codec.Unmarshal(b, again); err != nil {
		return err
	}
	was, err := codec.Normalize(ev)
	if err != nil {
		return err
	}
	is, err := codec.Normalize(again)
	if err != nil {
		return err
	}
	if !codec.Equal(was, is) {
		return fmt.Errorf("it does not come back from its encoding: %v", codec.Diff(was, is, 5))
	}
	return nil
}
