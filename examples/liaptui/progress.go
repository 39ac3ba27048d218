package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// How often progress is shown: as a bar on a terminal, otherwise as a line.
const (
	drawEvery = 100 * time.Millisecond
	lineEvery = 5 * time.Second
	barWidth  = 28
)

// watch shows the progress that next returns until stop is called: on a terminal as a
// bar that is removed at the end, elsewhere as a line from time to time. A negative
// part means that the remaining part is not known.
func watch(w io.Writer, next func() (part float64, text string)) (stop func()) {
	every, show, wipe := lineEvery, "%s\n", ""
	bar := isTerminal(w)
	if bar {
		every, show, wipe = drawEvery, "\r%s\x1b[K", "\r\x1b[K"
	}
	done := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				fmt.Fprint(w, wipe)
				return
			case <-tick.C:
			}
			part, text := next()
			if bar && part >= 0 {
				text = drawn(part) + " " + text
			}
			fmt.Fprintf(w, show, text)
		}
	})
	return func() {
		close(done)
		shown.Wait()
	}
}

// drawn returns the bar.
func drawn(part float64) string {
	n := int(max(0, min(part, 1)) * barWidth)
	return "[" + strings.Repeat("=", n) + strings.Repeat(" ", barWidth-n) + "]"
}

// isTerminal reports whether w is a character device. /dev/null is one too, where a
// bar does no harm.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
