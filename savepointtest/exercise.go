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

// replays is the number of replays by Exercise: code that depends on the order of a
// map or on a random source differs in one of several replays.
const replays = 4

// Exercise calls play, which must write to the machine with the given id, in a
// database in memory. Then it checks what savepoint relies on, and fails the test
// unless
//
//   - each event of the kind was appended at least once;
//   - each event is unchanged after encoding and decoding it;
//   - several replays result in the states that were stored. They do not if an Apply
//     reads a clock or a random source or depends on the order of a map, if a Check
//     changes the state, or if the program writes to a state that View or
//     Machine.State lent to it.
//
// It uses the strategy Hybrid instead of the kind's, with a snapshot every three
// events. An error of play fails the test too.
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
		return fmt.Errorf("play did not append the events %q: append each at least once", slices.Sorted(maps.Keys(missing)))
	}
	for range replays {
		rep, err := s.Verify(ctx, id)
		if err != nil {
			return err
		}
		if !rep.OK() {
			return fmt.Errorf("a replay results in another state than the stored one: %s", rep.Divergences[0])
		}
	}
	return nil
}

// roundTrip returns an error if an event differs after encoding and decoding it.
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
		return fmt.Errorf("it differs after encoding and decoding it: %v", codec.Diff(was, is, 5))
	}
	return nil
}
