// Package archive keeps records that are removed from the database: compactions and retention store them as
// segments before they remove them from the file, and Unarchive asks for them again. Archive is the
// interface, [Dir] keeps segments as files that people can read. An Archive is given to the database as
// savepoint.Options.Archive.
package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// ErrNotFound says that the archive has no such segment.
var ErrNotFound = errors.New("archive: no such segment")

// Archive keeps segments. Its methods are called from several goroutines, while
// no lock is held; a panic in one counts as an error.
type Archive interface {
	// Put stores a segment durably. The database removes the records once Put
	// returns nil, and keeps them if it does not. Put may be called again with
	// the same segment, or with a longer one of the same machine and the same end;
	// the later one replaces the earlier one. The segment is lent until Put returns.
	Put(ctx context.Context, s *Segment) error
	// Get returns the segment of the machine that ends with record to, where the
	// digest of the machine's records is digest. If the archive does not have it, the error
	// matches ErrNotFound. The database owns the segment that it gets, and checks it.
	Get(ctx context.Context, kind, id string, to uint64, digest string) (*Segment, error)
}

// Segment is a range of the records of one machine. Kind, ID, To and Digest
// identify it. The segment before it ends with record After.
type Segment struct {
	Kind, ID string
	After    uint64 // its records are After+1 to To
	To       uint64
	Digest   string   // of the machine's records up to To, 32 hex digits
	Base     []byte   // the snapshot After, exactly as the file has it: a replay starts there
	Records  []Record // in the order of their seq; those that a recovery gave up may be missing
}

// State returns the state in Base as a document: what the first record was
// applied to.
func (s *Segment) State() (any, error) {
	b, err := s.state()
	if err != nil {
		return nil, err
	}
	return codec.Document(b)
}

func (s *Segment) state() ([]byte, error) {
	var base record.Snapshot
	if err := base.Parse(s.Base, record.MachineKey(s.Kind, s.ID)); err != nil {
		return nil, err
	}
	return base.State, nil
}

// Record is one record of a segment. Seq, Pos and Bytes are what an archive has
// to store; [Record.Info] says what is in the bytes.
type Record struct {
	Seq   uint64
	Pos   uint64 // in the whole file
	Bytes []byte // exactly as the file has it
}

// Info is the content of a record.
type Info struct {
	Time        time.Time // UTC, to the microsecond
	Version     string    // of the kind: "1.2.0"
	Name        string    // of the event
	From, To    string    // the phases before and after
	Actor       string
	Origin      string // "user", "system", "timeout", "recovery" or "admin"
	Reason      string // of a record of the library: "saved", "restored", ...
	Key         string
	Cause       string
	Correlation string
	Tags        []string

	payload []byte
}

// Info reads the record's bytes. Its strings are copies.
func (r *Record) Info() (Info, error) {
	var e record.Envelope
	if err := e.Parse(r.Bytes, nil); err != nil {
		return Info{}, fmt.Errorf("record %d: %w", r.Seq, err)
	}
	major, minor, patch := record.SplitVersion(e.Version)
	return Info{Time: time.UnixMicro(e.Time).UTC(), Version: fmt.Sprintf("%d.%d.%d", major, minor, patch), Name: e.Name, From: e.From, To: e.To,
		Actor: e.Actor, Origin: record.OriginName(e.Origin), Reason: e.Reason, Key: e.Key, Cause: e.Cause, Correlation: e.Correlation, Tags: e.Tags,
		payload: e.Payload}, nil
}

// Event returns the event as a document: nil, bool, int64, float64, string,
// []byte, time.Time, []any, map[string]any and map[int64]any.
func (i *Info) Event() (any, error) { return codec.Document(i.payload) }
