package bolt

import (
	"fmt"
	"runtime/debug"
)

// panicError is what bbolt, or the memory it maps, threw.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("bbolt panicked: %v", e.value) }

// Unwrap is the panic's value if it was an error.
func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

// guarded runs fn, which calls bbolt, and turns a panic into a *panicError. Also
// a page that cannot be read from a mapped file, a SIGBUS, becomes one; that
// holds for the goroutine that calls, not for those bbolt starts itself.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return fn()
}
