package archive

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/codec"
)

// Dir returns an Archive of files below the directory path, which is created
// when the first segment is stored: one file of gzipped JSON lines for each
// segment. A file appears complete or not at all: it is written under another
// name, synced, renamed, and the directory is synced. A damaged file is
// engine.ErrCorrupt, one of a newer program matches engine.ErrNewer too.
//
// The first line identifies the segment and has the state that it starts from,
// each further line is a record, the last one says how many records there are.
// States and events are written for people to read; the exact bytes of the file
// are next to them in base64.
func Dir(path string) Archive { return dir(path) }

type dir string

// The lines of a file.
type (
	segmentLine struct {
		Savepoint  string `json:"savepoint"` // always segmentForm
		Kind, ID   string
		After, To  uint64
		Digest     string
		State      any
		BaseSealed []byte `json:"base"`
	}
	recordLine struct {
		Seq, Pos    uint64
		Time        string
		Version     string
		Name        string
		From, To    string
		Actor       string   `json:",omitempty"`
		Origin      string   `json:",omitempty"`
		Reason      string   `json:",omitempty"`
		Cause       string   `json:",omitempty"`
		Correlation string   `json:",omitempty"`
		Tags        []string `json:",omitempty"`
		Event       any
		Bytes       []byte `json:"record"`
	}
	endLine struct {
		End     bool `json:"end"`
		Records int
	}
)

// segmentForm is the first value of each file: what the file is, and its format.
const segmentForm = "chapter 1"

// file returns the name of a segment's file: a directory for each kind, and in it
// up to 256, so that none grows too large. Names consist of letters, digits, -, _
// and % only.
func (d dir) file(kind, id string, to uint64, digest string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(string(d), fileName(kind), fmt.Sprintf("%02x", sum[0]),
		fmt.Sprintf("%s-%d-%.16s.jsonl.gz", fileName(id), to, digest))
}

// fileName returns a name for s that every file system accepts; no two have the
// same.
func fileName(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() <= 120 {
		return b.String()
	}
	return fmt.Sprintf("%.80s%%%x", b.String(), sha256.Sum256([]byte(s)))[:120]
}

// Put implements Archive.
func (d dir) Put(_ context.Context, s *Segment) error {
	name := d.file(s.Kind, s.ID, s.To, s.Digest)
	parent := filepath.Dir(name)
	if err := makeDirs(parent); err != nil {
		return err
	}
	f, err := os.CreateTemp(parent, ".new-*")
	if err != nil {
		return err
	}
	err = writeSegment(f, s)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(parent)
}

// makeDirs creates a directory and those above it, each synced into its parent.
func makeDirs(path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if err := makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func writeSegment(w io.Writer, s *Segment) error {
	buffered := bufio.NewWriter(w)
	z := gzip.NewWriter(buffered)
	lines := json.NewEncoder(z)
	state, err := s.state()
	if err != nil {
		return err
	}
	if err := lines.Encode(segmentLine{Savepoint: segmentForm, Kind: s.Kind, ID: s.ID, After: s.After, To: s.To,
		Digest: s.Digest, State: legible(state), BaseSealed: s.Base}); err != nil {
		return err
	}
	for i := range s.Records {
		r := &s.Records[i]
		info, err := r.Info()
		if err != nil {
			return err
		}
		if err := lines.Encode(recordLine{Seq: r.Seq, Pos: r.Pos, Time: info.Time.Format(time.RFC3339Nano), Version: info.Version, Name: info.Name,
			From: info.From, To: info.To, Actor: info.Actor, Origin: info.Origin, Reason: info.Reason, Cause: info.Cause,
			Correlation: info.Correlation, Tags: info.Tags, Event: legible(info.payload), Bytes: r.Bytes}); err != nil {
			return err
		}
	}
	if err := lines.Encode(endLine{End: true, Records: len(s.Records)}); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// legible returns an encoded state or event in a form that JSON can express.
func legible(b []byte) any {
	doc, err := codec.Document(b)
	if err != nil {
		return fmt.Sprintf("not a document: %v", err)
	}
	return jsonable(doc)
}

// jsonable returns the document with strings as keys of all maps, and with text
// for the numbers and times that JSON does not have. It changes v.
func jsonable(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = jsonable(e)
		}
	case map[int64]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[strconv.FormatInt(k, 10)] = jsonable(e)
		}
		return m
	case []any:
		for i, e := range v {
			v[i] = jsonable(e)
		}
	case time.Time: // JSON refuses years of five digits
		return v.Format(time.RFC3339Nano)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	}
	return v
}

// Get implements Archive.
func (d dir) Get(ctx context.Context, kind, id string, to uint64, digest string) (*Segment, error) {
	name := d.file(kind, id, to, digest)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no file in %s has records of %s %q up to %d", ErrNotFound, string(d), kind, id, to)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := readSegment(ctx, f)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", engine.ErrCorrupt, name, err)
	}
	return s, nil
}

func readSegment(ctx context.Context, r io.Reader) (*Segment, error) {
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return nil, err
	}
	lines := json.NewDecoder(z)
	var first segmentLine
	if err := lines.Decode(&first); err != nil {
		return nil, err
	}
	if first.Savepoint != segmentForm {
		return nil, fmt.Errorf("%w: it is a %q, not a %q", engine.ErrNewer, first.Savepoint, segmentForm)
	}
	s := &Segment{Kind: first.Kind, ID: first.ID, After: first.After, To: first.To, Digest: first.Digest, Base: first.BaseSealed}
	for {
		var line struct {
			recordLine
			endLine
		}
		if err := lines.Decode(&line); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if line.End {
			if line.Records != len(s.Records) {
				return nil, fmt.Errorf("it ends after %d records of %d", len(s.Records), line.Records)
			}
			_, err := lines.Token() // the checksum of the whole file comes after the end
			if err != io.EOF {
				return nil, fmt.Errorf("data follows its end: %v", err)
			}
			return s, nil
		}
		r := Record{Seq: line.Seq, Pos: line.Pos, Bytes: line.Bytes}
		if _, err := r.Info(); err != nil {
			return nil, err
		}
		s.Records = append(s.Records, r)
	}
}
