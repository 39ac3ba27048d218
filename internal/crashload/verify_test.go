package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// written makes a file with fn and returns its path.
func written(t *testing.T, fn func(w *world)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), dbName)
	w, err := open(path, &savepoint.Options{NoCompression: true})
	require.NoError(t, err)
	fn(w)
	require.NoError(t, w.db.Close())
	return path
}

// add writes records lo to hi of a machine as the workload does.
func add(t *testing.T, w *world, name string, lo, hi uint64) {
	t.Helper()
	s, id := w.at(name)
	p := part{name, lo, hi}
	_, err := submit(s, id, p, []part{p})
	require.NoError(t, err)
}

// output returns the verifier's output for a path.
func output(t *testing.T, path string) string {
	t.Helper()
	var out bytes.Buffer
	verifyAll(strings.NewReader(path+"\n"), &out)
	return out.String()
}

func TestVerify_WhatIsRight(t *testing.T) {
	none := output(t, filepath.Join(t.TempDir(), dbName))
	assert.Equal(t, "OK\n", none, "a file that is not there")

	path := written(t, func(w *world) {
		for _, k := range kinds {
			name := nameOf(k.name, "0")
			for lo := uint64(1); lo <= 40; lo += 2 {
				add(t, w, name, lo, lo)
				add(t, w, name, lo+1, lo+1)
			}
		}
		require.NoError(t, acrossAll(w, []part{{"events/0", 41, 42}, {"hybrid/0", 41, 41}, {"states/0", 41, 43}}))
		_, err := w.stores["events"].Snapshot(ctx, "0", savepoint.Tag(tagPrefix+"1"))
		require.NoError(t, err)
	})
	got := output(t, path)
	for _, line := range []string{"HAVE hybrid/0 41\n", "HAVE events/0 42\n", "HAVE states/0 43\n", "HAVE versions/0 40\n", "HAVE events/0#tags 1\n"} {
		assert.Contains(t, got, line)
	}
	assert.True(t, strings.HasSuffix(got, "\nOK\n"), got)
}

// TestVerify_HasTeeth forges files that a correct library never leaves after a crash.
func TestVerify_HasTeeth(t *testing.T) {
	two := []part{{"events/0", 4, 4}, {"hybrid/0", 4, 4}}
	three := func(t *testing.T, w *world) {
		for lo := uint64(1); lo <= 3; lo++ {
			for _, k := range kinds {
				add(t, w, nameOf(k.name, "0"), lo, lo)
			}
		}
	}
	forged := func(t *testing.T, w *world, name string, seq uint64, ev savepoint.Event[game]) {
		s, id := w.at(name)
		_, err := s.Append(ctx, id, ev, options(part{name, seq, seq}, true)...)
		require.NoError(t, err)
	}
	for _, c := range []struct {
		name, want string
		forge      func(t *testing.T, w *world)
	}{
		{"a wrong byte", "events/0: ", func(t *testing.T, w *world) {
			e := eventAt("events/0", 4, []part{{"events/0", 4, 4}}).(moved)
			e.Body = bytes.Clone(e.Body)
			e.Body[7] ^= 1
			forged(t, w, "events/0", 4, e)
		}},
		{"a wrong byte, saved over later", "events/0: record 4: ", func(t *testing.T, w *world) {
			e := eventAt("events/0", 4, []part{{"events/0", 4, 4}}).(moved)
			e.Body = bytes.Clone(e.Body)
			e.Body[7] ^= 1
			forged(t, w, "events/0", 4, e)
			_, err := w.stores["events"].Save(ctx, "0", stateAt("events/0", 5, []part{{"events/0", 5, 5}}), options(part{"events/0", 5, 5}, true)...)
			require.NoError(t, err)
		}},
		{"the first half of a step", "half a step", func(t *testing.T, w *world) {
			_, err := w.stores["events"].Append(ctx, "0", eventAt("events/0", 4, two), options(two[0], false)...)
			require.NoError(t, err)
		}},
		{"the second half of a step", "half a step", func(t *testing.T, w *world) {
			_, err := w.stores["hybrid"].Append(ctx, "0", eventAt("hybrid/0", 4, two), options(two[1], false)...)
			require.NoError(t, err)
		}},
		{"half a step, and the other machine went on without", "half a step", func(t *testing.T, w *world) {
			_, err := w.stores["hybrid"].Append(ctx, "0", eventAt("hybrid/0", 4, two), options(two[1], false)...)
			require.NoError(t, err)
			add(t, w, "events/0", 4, 4)
		}},
		{"half an Update", "half a step", func(t *testing.T, w *world) {
			p := part{"events/0", 4, 5}
			_, err := w.stores["events"].Append(ctx, "0", eventAt("events/0", 4, []part{p}), options(p, true)...)
			require.NoError(t, err)
		}},
		{"half a step of states alone", "half a step", func(t *testing.T, w *world) {
			step := []part{{"states/0", 4, 4}, {"events/0", 4, 4}}
			_, err := w.stores["states"].Append(ctx, "0", eventAt("states/0", 4, step), options(step[0], false)...)
			require.NoError(t, err)
		}},
		{"a record of the wrong type", "record 4: ", func(t *testing.T, w *world) {
			p := part{"events/0", 4, 4}
			_, err := w.stores["events"].Save(ctx, "0", stateAt("events/0", 4, []part{p}), options(p, true)...)
			require.NoError(t, err)
		}},
		{"another actor", "is by", func(t *testing.T, w *world) {
			p := part{"events/0", 4, 4}
			_, err := w.stores["events"].Append(ctx, "0", eventAt("events/0", 4, []part{p}), append(options(p, true), savepoint.By("mallory"))...)
			require.NoError(t, err)
		}},
		{"no key", "the key", func(t *testing.T, w *world) {
			lo := uint64(4)
			for ; saves("events/0", lo) || !keyed("events/0", lo); lo++ {
				add(t, w, "events/0", lo, lo)
			}
			p := part{"events/0", lo, lo}
			_, err := w.stores["events"].Append(ctx, "0", eventAt("events/0", lo, []part{p}), options(p, false)...)
			require.NoError(t, err)
		}},
		{"a tagged snapshot missing", "tagged snapshot 1", func(t *testing.T, w *world) {
			_, err := w.stores["events"].Snapshot(ctx, "0", savepoint.Tag(tagPrefix+"2"))
			require.NoError(t, err)
		}},
		{"a machine deleted", "deleted", func(t *testing.T, w *world) {
			_, err := w.stores["events"].Delete(ctx, "0")
			require.NoError(t, err)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := output(t, written(t, func(w *world) { three(t, w); c.forge(t, w) }))
			assert.Contains(t, got, "BAD ")
			assert.Contains(t, got, c.want)
		})
	}
}

// TestVerify_FlippedByteOfABody flips bytes of the file itself.
func TestVerify_FlippedByteOfABody(t *testing.T) {
	path := written(t, func(w *world) {
		for lo := uint64(1); lo <= 30; lo++ {
			add(t, w, "events/0", lo, lo)
		}
	})
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	for seq := uint64(1); seq <= 30; seq++ {
		if saves("events/0", seq) || big("events/0", seq) {
			continue
		}
		found := false // copies may lie on pages that are free again
		for at := 0; !found; {
			i := bytes.Index(file[at:], bodyAt("events/0", seq))
			if i < 0 {
				break
			}
			at += i + 1
			forged := bytes.Clone(file)
			forged[at+10] ^= 0x20
			require.NoError(t, os.WriteFile(path, forged, 0o600))
			found = strings.Contains(output(t, path), "BAD ")
		}
		assert.True(t, found, "event %d", seq)
	}
}

// lawless is the event moved without its Check, under the same name on disk.
type lawless moved

func (e lawless) Apply(g *game, m savepoint.Meta) error { return moved(e).Apply(g, m) }

// plain returns the name of an event-sourced machine whose first n records are
// ordinary events.
func plain(n uint64) string {
	for id := 0; ; id++ {
		name, ok := nameOf("events", fmt.Sprint(id)), true
		for seq := uint64(1); seq <= n; seq++ {
			ok = ok && !saves(name, seq) && !big(name, seq)
		}
		if ok {
			return name
		}
	}
}

// TestVerify_MissingEvent has each event but the first of a machine once in the
// place of the one before it, as if that had never been.
func TestVerify_MissingEvent(t *testing.T) {
	for missing := uint64(1); missing <= 5; missing++ {
		path, name := filepath.Join(t.TempDir(), dbName), plain(6)
		db, err := savepoint.Open(path, nil)
		require.NoError(t, err)
		for _, k := range kinds { // the numbers of kinds go by the order in which they come
			s, err := savepoint.Register(db, savepoint.Kind[game]{Name: k.name, Strategy: k.strategy, Snapshot: k.policy,
				Events: savepoint.Events[game]{"moved": lawless{}, "painted": &painted{}}, Phase: (*game).phase})
			require.NoError(t, err)
			if k.name != "events" {
				continue
			}
			for seq := uint64(1); seq <= 5; seq++ {
				holds := seq
				if seq >= missing {
					holds++
				}
				p := part{name, seq, seq}
				ev := lawless(eventAt(name, holds, []part{p}).(moved))
				_, err := s.Append(ctx, strings.TrimPrefix(name, "events/"), ev, options(p, true)...)
				require.NoError(t, err)
			}
		}
		require.NoError(t, db.Close())
		assert.Contains(t, output(t, path), "BAD ", "event %d is missing", missing)
	}
}
