package savepointtest

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// survives reads what an older program stored, with the kind as it is now, and
// returns what is lost.
func survives[S any](k savepoint.Kind[S], old *golden) (problems []string) {
	defer func() {
		if p := recover(); p != nil {
			problems = append(problems, fmt.Sprint("panic: ", p))
		}
	}()
	var v savepoint.Version
	if _, err := fmt.Sscanf(old.Version, "%d.%d.%d", &v.Major, &v.Minor, &v.Patch); err != nil {
		return []string{fmt.Sprintf("its version %q: %v", old.Version, err)}
	}
	names := slices.Sorted(maps.Keys(old.Events))
	e := memory.New()
	if err := store(e, k.Name, v, old, names); err != nil {
		return []string{err.Error()}
	}
	// Made-up values are only read: rules of the kind could refuse them.
	k.New, k.Phase, k.Legal, k.Validate, k.Final, k.SnapshotWhen = nil, nil, nil, nil, nil, nil
	k.Strategy, k.Retention = savepoint.EventSourced, savepoint.RetentionPolicy{}
	db, err := savepoint.Open("golden", &savepoint.Options{Engine: e})
	if err != nil {
		return []string{err.Error()}
	}
	defer db.Close()
	s, err := savepoint.Register(db, k)
	if err != nil {
		return []string{err.Error()}
	}
	ctx := context.Background()
	st, err := s.Load(ctx, "state")
	if err != nil {
		problems = append(problems, fmt.Sprintf("the state: %v", err))
	} else if !st.Upcast {
		problems = append(problems, lost("the state", old.State, &st.Value)...)
	}
	for rec, err := range s.Events(ctx, "events", savepoint.EventRange{}) {
		name := names[max(1, rec.Seq)-1]
		if err != nil {
			problems = append(problems, fmt.Sprintf("event %q: %v", name, err))
		} else if !rec.Upcast {
			problems = append(problems, lost(fmt.Sprintf("event %q", name), old.Events[name], rec.Event)...)
		}
	}
	return problems
}

// store stores two machines as a program of the old version would have: one with the
// state, one with the events.
func store(e engine.Engine, kind string, v savepoint.Version, old *golden, names []string) error {
	packed := uint64(v.Major)<<32 | uint64(v.Minor)<<16 | uint64(v.Patch)
	write := func(id string, base uint64, events []engine.Event) engine.Write {
		key := string(append([]byte{byte(len(kind))}, kind+id...))
		snap := record.Snapshot{Kind: kind, ID: id, Seq: base, Version: packed, Pinned: true, State: old.State.Bytes}
		head := record.Head{Version: packed, Base: base, Snapshot: base}
		for _, ev := range events {
			head.Digest = head.Digest.Next(ev.Bytes)
		}
		return engine.Write{Machine: key, Kind: 1, Schema: packed, Seq: max(1, base, uint64(len(events))), Events: events,
			Snapshots: []engine.Snapshot{{Seq: base, Bytes: snap.Append(nil, key)}}, Head: head.Append(nil, key)}
	}
	var events []engine.Event
	for _, name := range names {
		env := record.Envelope{Version: packed, Name: name, Payload: old.Events[name].Bytes}
		events = append(events, engine.Event{Bytes: env.Append(nil), Terms: engine.Terms{Name: name}})
	}
	steps := []engine.Step{{Writes: []engine.Write{write("state", 1, nil)}}, {Writes: []engine.Write{write("events", 0, events)}}}
	out := make([]engine.Result, len(steps))
	if err := e.Commit(context.Background(), steps, out); err != nil {
		return err
	}
	for _, r := range out {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// lost returns a sentence about the fields of an old value that are missing or
// changed in the new one.
func lost(what string, old goldenValue, now any) []string {
	was, err := codec.Document(old.Bytes)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", what, err)}
	}
	is, err := codec.Normalize(now)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", what, err)}
	}
	var paths []string
	missing(was, is, "", &paths)
	if len(paths) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s loses %s", what, strings.Join(paths, ", "))}
}

// missing adds to paths what was holds and is does not. is may hold more.
func missing(was, is any, at string, paths *[]string) {
	if m, ok := was.(map[string]any); ok {
		now, _ := is.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			v, there := now[name]
			if !there && !reflect.ValueOf(m[name]).IsValid() {
				continue // a missing field is as good as nil
			}
			missing(m[name], v, strings.TrimPrefix(at+"."+name, "."), paths)
		}
		return
	}
	if list, ok := was.([]any); ok {
		if now, _ := is.([]any); len(now) == len(list) {
			for i := range list {
				missing(list[i], now[i], fmt.Sprintf("%s[%d]", at, i), paths)
			}
			return
		}
	}
	if !codec.Equal(was, is) {
		*paths = append(*paths, at)
	}
}
