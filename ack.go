package savepoint

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// Head is where a machine is.
type Head struct {
	Kind, ID     string
	Seq          uint64 // of the newest record; 0 = there is none yet
	Pos          uint64 // of that record in the file; 0 while it is queued
	Phase        string
	Version      Version // schema version of the newest record
	Upcast       bool    // the state is of that version and was brought to the kind's by migrations
	Created      time.Time
	Updated      time.Time // time of the newest record
	Revision     uint64    // of the newest Save, versioned strategy
	RevisionName string    // empty where its number is its name
	Deleted      bool
}

// Ack is the promise of an answer to a write that did not wait.
type Ack struct {
	done  chan struct{}
	head  Head
	err   error
	start time.Time
	op    op
	again bool // another process owns the engine's machine: decide anew
	of    *Ack // the write whose answer this is, with another head
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func newAck(o op, start time.Time) *Ack {
	return &Ack{done: make(chan struct{}), op: o, start: start}
}

// refused is an Ack that is already answered.
func refused(err error) *Ack { return &Ack{done: closedChan, err: err} }

// resolvedAck is an Ack of something that is durable already.
func resolvedAck(h Head) *Ack { return &Ack{done: closedChan, head: h} }

// resolve answers; only once.
func (a *Ack) resolve(err error) {
	a.err = err
	close(a.done)
}

// follow is an Ack with the answer of another one, whose write what was seen
// rests on.
func (a *Ack) follow(h Head) *Ack {
	if a.of != nil {
		a = a.of
	}
	return &Ack{done: a.done, of: a, head: h}
}

// answer is what the Ack says once it is done.
func (a *Ack) answer() (Head, error) {
	if a.of != nil {
		return a.head, a.of.err
	}
	return a.head, a.err
}

// resolved says whether the answer is there.
func (a *Ack) resolved() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// Done is closed when the answer is there.
func (a *Ack) Done() <-chan struct{} { return a.done }

// Err waits for the answer: nil means that the write is durable.
func (a *Ack) Err() error {
	<-a.done
	_, err := a.answer()
	return err
}

// Head waits for the answer: where the machine is after the write, or the zero
// Head if there is an error.
func (a *Ack) Head() Head {
	<-a.done
	h, err := a.answer()
	if err != nil {
		return Head{}
	}
	return h
}

// Wait waits for the answer, or for the end of ctx. The write goes on without
// its caller: ErrInDoubt then says that it may become durable yet.
func (a *Ack) Wait(ctx context.Context) (Head, error) {
	select {
	case <-a.done:
		return a.answer()
	default:
	}
	select {
	case <-a.done:
		return a.answer()
	case <-ctx.Done():
		return Head{}, fmt.Errorf("%w: the caller stopped waiting: %w", ErrInDoubt, context.Cause(ctx))
	}
}

// token names a write: its machine, the machine's seq after it, and the digest
// of the machine's records then.
func token(w *engine.Write) string {
	return fmt.Sprintf("%s.%d.%s", hex.EncodeToString([]byte(w.Machine)), w.Seq, hex.EncodeToString(w.Token[:]))
}

// Outcome tells, after the file was opened again, what became of a write that
// was in doubt: whether it is stored. The token is the InDoubtError's. The kind
// must be registered if the machine was written to since.
func (db *DB) Outcome(ctx context.Context, token string) (stored bool, err error) {
	if db.closed.Load() {
		return false, ErrClosed
	}
	key, seq, digest, err := parseToken(token)
	if err != nil {
		return false, fmt.Errorf("outcome of %.80q: %w", token, err)
	}
	head, err := db.eng.Load(ctx, key, engine.LoadRange{}, nil)
	switch {
	case err != nil:
		return false, fmt.Errorf("outcome: %w", err)
	case head.Number == 0 || head.Seq < seq:
		return false, nil
	case head.Seq == seq:
		return head.Token == digest, nil
	}
	kindName, id, _ := splitKey(key)
	kinds, err := db.choose([]string{kindName})
	if err != nil {
		return false, fmt.Errorf("outcome: %w", err)
	}
	r, _, _, err := db.rebuild(ctx, kinds[0], id, seq, 0)
	if err != nil {
		return false, fmt.Errorf("outcome: %w", err)
	}
	return r.head.Digest == record.Digest(digest), nil
}

func parseToken(token string) (key string, seq uint64, digest [16]byte, err error) {
	bad := errors.New("not a token: take it from an InDoubtError")
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return "", 0, digest, bad
	}
	k, err1 := hex.DecodeString(part[0])
	seq, err2 := strconv.ParseUint(part[1], 10, 64)
	d, err3 := hex.DecodeString(part[2])
	if _, _, ok := splitKey(string(k)); err1 != nil || err2 != nil || err3 != nil || len(d) != len(digest) || !ok {
		return "", 0, digest, bad
	}
	return string(k), seq, [16]byte(d), nil
}
