package savepoint

import (
	"fmt"
	"strings"

	"github.com/liap-tui/savepoint/internal/codec"
)

// CheckMigration tries a migration on a document, which stays as it is: Up has to
// give the same twice, and Down what Up was given. It is for the tests of the
// program that declares the migration. A migration without Down is only looked
// at in one direction.
func CheckMigration(m Migration, d Doc) error {
	if p := m.problem(); p != "" {
		return fmt.Errorf("%s: %s", &m, p)
	}
	if m.Up == nil { // only a new name
		return nil
	}
	b, err := codec.Marshal(d)
	if err != nil {
		return fmt.Errorf("%s: the document: %w", &m, err)
	}
	up, err := twice(&m, b, (*Migration).up)
	if err != nil {
		return fmt.Errorf("%s: up: %w", &m, err)
	}
	if m.Down == nil {
		return nil
	}
	down, err := twice(&m, up, (*Migration).down)
	if err != nil {
		return fmt.Errorf("%s: down: %w", &m, err)
	}
	if how := differences(b, down); len(how) > 0 {
		return fmt.Errorf("%s: up and down give another document: %s", &m, strings.Join(how, "; "))
	}
	return nil
}

// twice runs one way of a migration two times, and compares.
func twice(m *Migration, b []byte, way func(*Migration, Doc) (Doc, error)) (out []byte, err error) {
	for range 2 {
		d, err := document(b)
		if err == nil {
			d, err = way(m, d)
		}
		if err != nil {
			return nil, err
		}
		again, err := codec.Marshal(d)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = again
		} else if how := differences(out, again); len(how) > 0 {
			return nil, fmt.Errorf("it is not deterministic: %s", strings.Join(how, "; "))
		}
	}
	return out, nil
}

// mostDifferences is how many places are told where two documents differ.
const mostDifferences = 10

// differences are the places where two encoded documents differ.
func differences(a, b []byte) []string {
	x, err := codec.Document(a)
	if err != nil {
		return []string{err.Error()}
	}
	y, err := codec.Document(b)
	if err != nil {
		return []string{err.Error()}
	}
	return codec.Diff(x, y, mostDifferences)
}
