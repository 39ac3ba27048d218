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

// Head describes the newest record of a machine and its state after that record.
type Head struct {
	Kind, ID     string
	Seq          uint64 // of the newest record; 0 if the machine has no record
	Pos          uint64 // position of that record in the order of all records; 0 while it is not durable
	Phase        string
	Version      Version // schema version of the newest record
	Upcast       bool    // the state is of that version and was upcast to the kind's
	Created      time.Time
	Updated      time.Time // time of the newest record
	Revision     uint64    // number of the newest revision, under Versioned
	RevisionName string    // empty where the number is the name
	Deleted      bool
}

// Ack is the future result of a write that does not wait for the disk. All methods may
// be called from several goroutines.
type Ack struct {
	done  chan struct{}
	head  Head
	err   error
	start time.Time
	op    op
	again bool // another process changed the machine: the write may be decided again
	of    *Ack // the Ack whose result this one has, with a head of its own; or nil
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func newAck(o op, start time.Time) *Ack {
	return &Ack{done: make(chan struct{}), op: o, start: start}
}

// refused returns an Ack that is resolved with an error.
func refused(err error) *Ack { return &Ack{done: closedChan, err: err} }

// resolvedAck returns an Ack of something that is durable already.
func resolvedAck(h Head) *Ack { return &Ack{done: closedChan, head: h} }

// resolve sets the result. It must be called once.
func (a *Ack) resolve(err error) {
	a.err = err
	close(a.done)
}

// follow returns an Ack that resolves as a does, but with the head h. It is for a reader
// whose state contains the write of a.
func (a *Ack) follow(h Head) *Ack {
	if a.of != nil {
		a = a.of
	}
	return &Ack{done: a.done, of: a, head: h}
}

// result returns the result of a resolved Ack.
func (a *Ack) result() (Head, error) {
	if a.of != nil {
		return a.head, a.of.err
	}
	return a.head, a.err
}

// resolved reports whether the result is known.
func (a *Ack) resolved() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// Done returns a channel that is closed when the result is known.
func (a *Ack) Done() <-chan struct{} { return a.done }

// Err waits for the result and returns its error. Nil means that the write is durable.
func (a *Ack) Err() error {
	<-a.done
	_, err := a.result()
	return err
}

// Head waits for the result and returns the machine's head after the write, or the zero
// Head if the write failed.
func (a *Ack) Head() Head {
	<-a.done
	h, err := a.result()
	if err != nil {
		return Head{}
	}
	return h
}

// Wait waits for the result and returns it. When ctx ends first, Wait returns an error
// that matches ErrInDoubt and the cause of ctx: the write continues and may become durable.
func (a *Ack) Wait(ctx context.Context) (Head, error) {
	select {
	case <-a.done:
		return a.result()
	default:
	}
	select {
	case <-a.done:
		return a.result()
	case <-ctx.Done():
		return Head{}, fmt.Errorf("%w: the caller stopped waiting: %w", ErrInDoubt, context.Cause(ctx))
	}
}

// token returns the text by which Outcome finds a write: the machine, its seq after the
// write and the digest of its records at that seq.
func token(w *engine.Write) string {
	return fmt.Sprintf("%s.%d.%s", hex.EncodeToString([]byte(w.Machine)), w.Seq, hex.EncodeToString(w.Token[:]))
}

// Outcome reports whether a write that was in doubt is stored. Call it after the file was
// opened again, with the Token of the *InDoubtError. The machine's kind must be registered
// if the machine was written to since. A text that is not a token is an error.
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
	kinds, err := db.kinds.named([]string{kindName})
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
