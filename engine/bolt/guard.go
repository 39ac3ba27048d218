package bolt

import (
	"fmt"
	"runtime/debug"
)

// panicError is a panic of bbolt, or of an access to the memory that it maps.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("bbolt panicked: %v", e.value) }

// Unwrap returns the panic's value if that is an error.
func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

// guarded runs fn, which calls bbolt, and returns a panic as a *panicError. The
// fault of a mapped page that cannot be read (SIGBUS) becomes one too, if it occurs
// in the calling goroutine and not in one that bbolt started.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return fn()
}
