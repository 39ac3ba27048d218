package savepoint

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/internal/codec"
)

// RevisionNaming says which name a revision, a saved state of the versioned
// strategy, has beside its number. [AtRevisionName] finds it again.
type RevisionNaming uint8

// The ways of naming revisions.
const (
	// SequentialRevisions: the number is the name.
	SequentialRevisions RevisionNaming = iota
	// SemanticRevisions are named major.minor.patch: major is that of the kind's
	// version, minor rises when the Save has other fields or keys than the state
	// before it, patch when only values differ.
	SemanticRevisions
	// TimestampRevisions are named by the time of the Save, with microseconds, in
	// UTC; where the clock has not gone on since the last one, by one microsecond
	// more than that.
	TimestampRevisions
	// HashedRevisions are named by 128 bits of a SHA-256 over the content, as 32
	// hex digits: the same content has the same name, in whatever order maps were
	// encoded.
	HashedRevisions
)

const timestampName = "2006-01-02T15:04:05.000000Z"

// revisionName is the name of the revision that saves enc.
func (d *draft) revisionName(enc []byte) (string, error) {
	last := d.h.RevisionName
	switch d.m.kind.revisions {
	case SemanticRevisions:
		return d.semanticName(last, enc)
	case TimestampRevisions:
		at := stored(d.now)
		if before, err := time.Parse(timestampName, last); err == nil && !at.After(before) {
			at = before.Add(time.Microsecond)
		}
		return at.Format(timestampName), nil
	case HashedRevisions:
		doc, err := codec.Document(enc)
		if err != nil {
			return "", fmt.Errorf("the state as a document: %w", err)
		}
		h := sha256.New()
		codec.SumDocument(h, doc)
		return fmt.Sprintf("%x", h.Sum(nil)[:16]), nil
	}
	return "", nil
}

func (d *draft) semanticName(last string, enc []byte) (string, error) {
	major := d.m.kind.version.Major
	var m, minor, patch uint
	if n, _ := fmt.Sscanf(last, "%d.%d.%d", &m, &minor, &patch); n != 3 || m != uint(major) {
		return fmt.Sprintf("%d.0.0", major), nil
	}
	was, err := codec.Normalize(d.value())
	if err != nil {
		return "", fmt.Errorf("the state before as a document: %w", err)
	}
	is, err := codec.Document(enc)
	if err != nil {
		return "", fmt.Errorf("the state as a document: %w", err)
	}
	if sameKeys(was, is) {
		return fmt.Sprintf("%d.%d.%d", major, minor, patch+1), nil
	}
	return fmt.Sprintf("%d.%d.0", major, minor+1), nil
}

// sameKeys says whether two documents have the same keys in all their maps, but
// for those within lists.
func sameKeys(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			return sameKeysIn(a, b)
		}
		b, ok := b.(map[int64]any)
		return ok && len(a) == 0 && len(b) == 0
	case map[int64]any:
		if b, ok := b.(map[int64]any); ok {
			return sameKeysIn(a, b)
		}
		b, ok := b.(map[string]any)
		return ok && len(a) == 0 && len(b) == 0
	}
	switch b.(type) {
	case map[string]any, map[int64]any:
		return false
	}
	return true
}

func sameKeysIn[K comparable](a, b map[K]any) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, there := b[k]; !there || !sameKeys(v, w) {
			return false
		}
	}
	return true
}
