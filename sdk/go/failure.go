package handoff

import (
	"fmt"
	"path"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/handoff-tests/handoff/sdk/go/internal/host"
)

// sdk is what the names of this package's functions begin with.
const sdk = "github.com/handoff-tests/handoff/sdk/go."

// maxFrames is how much of a stack is looked at.
const maxFrames = 64

// frames gives the stack of whoever called the SDK, innermost first, without the SDK's own functions.
func frames() []runtime.Frame {
	var counters [maxFrames]uintptr
	return ofUsers(counters[:runtime.Callers(2, counters[:])])
}

func ofUsers(counters []uintptr) []runtime.Frame {
	var found []runtime.Frame
	walk := runtime.CallersFrames(counters)
	for {
		frame, more := walk.Next()
		if frame.Function != "" && !strings.HasPrefix(frame.Function, sdk) && frame.Function != "runtime.goexit" {
			found = append(found, frame)
		}
		if !more {
			return found
		}
	}
}

// caller gives where the SDK was called from, helpers left out.
func (t *T) caller() host.Location {
	found := frames()
	for _, frame := range found {
		if !t.isHelper(frame.Function) {
			return place(frame)
		}
	}
	// All of them are helpers, as when a test itself is marked as one.
	if len(found) > 0 {
		return place(found[len(found)-1])
	}
	return host.Location{}
}

// panicked tells of a panic, from a function that is deferred by the goroutine that panics.
func (t *T) panicked(value any) {
	var counters [maxFrames]uintptr
	found := ofUsers(counters[:runtime.Callers(2, counters[:])])
	// Before it is what was deferred meanwhile.
	for i, frame := range found {
		if frame.Function == "runtime.gopanic" {
			found = found[i+1:]
			break
		}
	}
	for len(found) > 0 && strings.HasPrefix(found[0].Function, "runtime.") {
		found = found[1:]
	}
	var stack strings.Builder
	var location host.Location
	for _, frame := range found {
		at := place(frame)
		fmt.Fprintf(&stack, "\n%s\n\t%s:%d", frame.Function, at.File, at.Line)
		if location.File == "" && isOwn(frame.Function) {
			location = at
		}
	}
	if location.File == "" && len(found) > 0 {
		location = place(found[0])
	}
	message := "panic: " + text(value)
	if stack.Len() > 0 {
		message += "\n" + stack.String()
	}
	t.fail(message, location)
}

// text shows the value of a panic, whose own methods may panic.
func text(value any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a %T that cannot be shown", value)
		}
	}()
	return fmt.Sprint(value)
}

// build tells which module this is built from: the suite.
var build = sync.OnceValue(func() debug.BuildInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return debug.BuildInfo{}
	}
	return *info
})

// place names a file as people of the suite do: from the root of its module, or with the import path
// if it is in another one.
func place(frame runtime.Frame) host.Location {
	file := frame.File[strings.LastIndexAny(frame.File, `/\`)+1:]
	imported, module := importPath(frame.Function), build().Main.Path
	within := strings.TrimPrefix(imported+"/", module+"/")
	return host.Location{File: path.Join(within, file), Line: frame.Line}
}

// isOwn tells whether a function is one of the suite's module.
func isOwn(function string) bool {
	imported, module := importPath(function), build().Main.Path
	return imported == "" || imported == module || strings.HasPrefix(imported, module+"/")
}

// importPath gives the package of a function, or nothing if that is unknown.
func importPath(function string) string {
	slash := strings.LastIndexByte(function, '/') + 1
	name, _, _ := strings.Cut(function[slash:], ".")
	imported := strings.ReplaceAll(function[:slash]+name, "%2e", ".")
	if imported != "main" {
		return imported
	}
	if main := build().Path; main != "command-line-arguments" {
		return main
	}
	return ""
}

// placeOf gives where a function begins.
func placeOf(function any) host.Location {
	counter := reflect.ValueOf(function).Pointer()
	file, line := runtime.FuncForPC(counter).FileLine(counter)
	return place(runtime.Frame{Function: runtime.FuncForPC(counter).Name(), File: file, Line: line})
}

// readable makes a message one whose first line says what went wrong. Testify's messages begin with an
// empty line and a stack: `\n\tError Trace:\tfile:line\n\tError:      \tNot equal: \n…`, each line with a
// label or room for one.
func readable(message string) string {
	const label = "\tError Trace:\t"
	if !strings.HasPrefix(message, "\n"+label) {
		return strings.TrimSpace(message)
	}
	var kept strings.Builder
	keep := false
	for line := range strings.Lines(message[1:]) {
		if len(line) < len(label) {
			continue
		}
		switch strings.TrimSpace(line[:len(label)]) {
		case "":
		case "Error:", "Messages:":
			keep = true
		default:
			keep = false
		}
		if keep {
			kept.WriteString(line[len(label):])
		}
	}
	return strings.TrimSpace(kept.String())
}
