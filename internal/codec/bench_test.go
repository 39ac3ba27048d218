package codec_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/liap-tui/savepoint/internal/codec"
)

type played struct {
	Seat int
	Card string
	Fast bool
}

type player struct {
	Name   string
	Score  int
	Ready  bool
	Joined time.Time
}

type cardGame struct {
	Phase   string
	Turn    int
	Round   int
	Hands   map[int][]string
	Scores  map[string]int
	Players []player
	Deck    []string
	Flags   map[string]bool
	Extra   map[string]any
}

// newCardGame is a state of about 1.5 KB, encoded.
func newCardGame() cardGame {
	g := cardGame{
		Phase: "turn", Turn: 2, Round: 7,
		Hands: map[int][]string{}, Scores: map[string]int{}, Flags: map[string]bool{"open": true, "ranked": false},
		Extra: map[string]any{"mode": "classic", "limit": int64(300), "teams": map[string]any{"red": []any{int64(0), int64(2)}, "blue": []any{int64(1), int64(3)}}},
	}
	suits := "CDHS"
	for seat := range 4 {
		name := fmt.Sprintf("player-%d", seat)
		g.Scores[name] = 100 * seat
		g.Players = append(g.Players, player{Name: name, Score: 100 * seat, Ready: true, Joined: time.Unix(1_700_000_000+int64(seat), 123456000).UTC()})
		for c := range 13 {
			g.Hands[seat] = append(g.Hands[seat], fmt.Sprintf("%c%d of %s", suits[c%4], c, "suit"))
		}
	}
	for c := range 138 {
		g.Deck = append(g.Deck, fmt.Sprintf("%c%02d", suits[c%4], c))
	}
	return g
}

func BenchmarkMarshal(b *testing.B) {
	b.Run("event", func(b *testing.B) { benchmarkMarshal(b, played{Seat: 3, Card: "7H", Fast: true}) })
	b.Run("state", func(b *testing.B) { benchmarkMarshal(b, newCardGame()) })
}

func benchmarkMarshal(b *testing.B, v any) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.Marshal(v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	var v any = played{Seat: 3, Card: "7H", Fast: true}
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.Append(buf, v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	b.Run("event", func(b *testing.B) { benchmarkUnmarshal[played](b, played{Seat: 3, Card: "7H", Fast: true}) })
	b.Run("state", func(b *testing.B) { benchmarkUnmarshal[cardGame](b, newCardGame()) })
	b.Run("state as map", func(b *testing.B) { benchmarkUnmarshal[map[string]any](b, newCardGame()) })
}

func benchmarkUnmarshal[T any](b *testing.B, v any) {
	data, err := codec.Marshal(v)
	require.NoError(b, err)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var out T
		if err := codec.Unmarshal(data, &out); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLibrary is the bare library with its coders reused, to compare with.
func BenchmarkLibrary(b *testing.B) {
	b.Run("marshal event", func(b *testing.B) { benchmarkLibraryMarshal(b, played{Seat: 3, Card: "7H", Fast: true}) })
	b.Run("marshal state", func(b *testing.B) { benchmarkLibraryMarshal(b, newCardGame()) })
	b.Run("unmarshal event", func(b *testing.B) { benchmarkLibraryUnmarshal[played](b, played{Seat: 3, Card: "7H", Fast: true}) })
	b.Run("unmarshal state", func(b *testing.B) { benchmarkLibraryUnmarshal[cardGame](b, newCardGame()) })
}

func benchmarkLibraryMarshal(b *testing.B, v any) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := msgpack.Marshal(v); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkLibraryUnmarshal[T any](b *testing.B, v any) {
	data, err := codec.Marshal(v)
	require.NoError(b, err)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var out T
		dec := msgpack.GetDecoder()
		dec.Reset(bytes.NewReader(data))
		if err := dec.Decode(&out); err != nil {
			b.Fatal(err)
		}
		msgpack.PutDecoder(dec)
	}
}

func BenchmarkScan(b *testing.B) {
	for name, v := range map[string]any{"event": played{Seat: 3, Card: "7H", Fast: true}, "state": newCardGame()} {
		b.Run(name, func(b *testing.B) {
			data, err := codec.Marshal(v)
			require.NoError(b, err)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := codec.Scan(data, codec.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDocument(b *testing.B) {
	data, err := codec.Marshal(newCardGame())
	require.NoError(b, err)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.Document(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEqual(b *testing.B) {
	x, err := codec.Normalize(newCardGame())
	require.NoError(b, err)
	y, err := codec.Normalize(newCardGame())
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if !codec.Equal(x, y) {
			b.Fatal("not equal")
		}
	}
}
