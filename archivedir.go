package savepoint

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

	"github.com/liap-tui/savepoint/internal/record"
)

// ArchiveDir is an Archive of files below a directory, which is made when it is
// needed: one file of gzipped JSON lines for each chapter. A file comes whole or
// not at all: it is written under another name, synced, renamed, and the
// directory is synced.
//
// The first line names the chapter and has the state it begins with, each
// further line is a record, the last one says how many there were. The states
// and events in them are to be read by people; beside them stands, in base64,
// what the file had, exactly.
func ArchiveDir(dir string) Archive { return archiveDir(dir) }

type archiveDir string

// The lines of a chapter.
type (
	chapterLine struct {
		Savepoint  string `json:"savepoint"` // always "chapter 1"
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

const chapterForm = "chapter 1"

// place is the file of a chapter: a directory for each kind, and in it 256, so
// that none grows too large. Names are made of letters, digits, - and _ alone.
func (d archiveDir) place(kind, id string, to uint64, digest string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(string(d), fileName(kind), fmt.Sprintf("%02x", sum[0]),
		fmt.Sprintf("%s-%d-%.16s.jsonl.gz", fileName(id), to, digest))
}

// fileName is a name that any file system takes, another one for each s.
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
func (d archiveDir) Put(_ context.Context, c *ArchiveSegment) error {
	name := d.place(c.Kind, c.ID, c.To, c.Digest)
	dir := filepath.Dir(name)
	if err := makeDirs(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	err = writeChapter(f, c)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

// makeDirs makes a directory and those above it, each synced into its parent.
func makeDirs(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func writeChapter(w io.Writer, c *ArchiveSegment) error {
	buffered := bufio.NewWriter(w)
	z := gzip.NewWriter(buffered)
	lines := json.NewEncoder(z)
	var base record.Snapshot
	if err := base.Parse(c.Base, keyOf(c.Kind, c.ID)); err != nil {
		return err
	}
	if err := lines.Encode(chapterLine{Savepoint: chapterForm, Kind: c.Kind, ID: c.ID, After: c.After, To: c.To,
		Digest: c.Digest, State: legible(base.State), BaseSealed: c.Base}); err != nil {
		return err
	}
	for i := range c.Records {
		a := &c.Records[i]
		if err := lines.Encode(recordLine{Seq: a.Seq, Pos: a.Pos, Time: a.Time.Format(time.RFC3339Nano), Version: a.Version.String(), Name: a.Name,
			From: a.From, To: a.Meta.To, Actor: a.Actor, Origin: a.Origin.String(), Reason: a.Reason, Cause: a.Cause,
			Correlation: a.Correlation, Tags: a.Tags, Event: legible(a.payload), Bytes: a.Bytes}); err != nil {
			return err
		}
	}
	if err := lines.Encode(endLine{End: true, Records: len(c.Records)}); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// legible is an encoded state or event in a form that JSON can say.
func legible(b []byte) any {
	a := ArchivedRecord{payload: b}
	doc, err := a.Event()
	if err != nil {
		return fmt.Sprintf("not a document: %v", err)
	}
	return jsonable(doc)
}

// jsonable is a document whose maps have strings as keys and whose numbers JSON
// has words for.
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
func (d archiveDir) Get(ctx context.Context, kind, id string, to uint64, digest string) (*ArchiveSegment, error) {
	name := d.place(kind, id, to, digest)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no chapter of %s %q ends with record %d in the archive", ErrNotFound, kind, id, to)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := readChapter(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
	}
	return c, nil
}

func readChapter(ctx context.Context, r io.Reader) (*ArchiveSegment, error) {
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return nil, err
	}
	lines := json.NewDecoder(z)
	var first chapterLine
	if err := lines.Decode(&first); err != nil {
		return nil, err
	}
	if first.Savepoint != chapterForm {
		return nil, fmt.Errorf("%w: it is a %q, not a %q", ErrNewer, first.Savepoint, chapterForm)
	}
	c := &ArchiveSegment{Kind: first.Kind, ID: first.ID, After: first.After, To: first.To, Digest: first.Digest, Base: first.BaseSealed}
	for {
		var line struct {
			recordLine
			endLine
		}
		if err := lines.Decode(&line); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if line.End {
			if line.Records != len(c.Records) {
				return nil, fmt.Errorf("it ends after %d records of %d", len(c.Records), line.Records)
			}
			_, err := lines.Token() // the sum of the whole comes behind the end
			if err != io.EOF {
				return nil, fmt.Errorf("something stands behind its end: %v", err)
			}
			return c, nil
		}
		a := ArchivedRecord{Bytes: line.Bytes}
		if err := a.parse(c.Kind, c.ID, line.Seq, line.Pos); err != nil {
			return nil, err
		}
		c.Records = append(c.Records, a)
	}
}
