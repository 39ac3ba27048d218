package savepoint

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/internal/codec"
)

// RevisionNaming says which name a revision gets besides its number. A revision is a
// state that a Save stores under Versioned. [AtRevisionName] finds it by its name.
type RevisionNaming uint8

// The ways to name revisions.
const (
	// SequentialRevisions have no name but their number.
	SequentialRevisions RevisionNaming = iota
	// SemanticRevisions are named major.minor.patch. major is the major number of the
	// kind's version; minor rises when the saved state has other fields or map keys than
	// the state before it; patch rises when only values differ.
	SemanticRevisions
	// TimestampRevisions are named by the time of the Save, in UTC with microseconds. If
	// the clock is not later than the name of the revision before, the name is one
	// microsecond later than that.
	TimestampRevisions
	// HashedRevisions are named by the first 128 bits of a SHA-256 over the content, in
	// 32 hex digits. Equal content has equal names, whatever the order in which maps were
	// encoded.
	HashedRevisions
)

const timestampName = "2006-01-02T15:04:05.000000Z"

// revisionName returns the name of the revision that saves enc at the time now. last
// is the name of the newest revision, before the state that enc replaces.
func revisionName(k *kind, last string, now int64, before any, enc []byte) (string, error) {
	switch k.revisions {
	case SemanticRevisions:
		return semanticName(k.version.Major, last, before, enc)
	case TimestampRevisions:
		at := stored(now)
		if newest, err := time.Parse(timestampName, last); err == nil && !at.After(newest) {
			at = newest.Add(time.Microsecond)
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

func semanticName(major uint16, last string, before any, enc []byte) (string, error) {
	var m, minor, patch uint
	if n, _ := fmt.Sscanf(last, "%d.%d.%d", &m, &minor, &patch); n != 3 || m != uint(major) {
		return fmt.Sprintf("%d.0.0", major), nil
	}
	was, err := codec.Normalize(before)
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

// sameKeys reports whether two documents have the same keys in all their maps. Maps
// inside lists are not compared.
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
