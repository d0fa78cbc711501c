package handoff

// What the tests need of the inside.
var (
	Run      = run
	Readable = readable
)

// Unregister lets a test register a suite of its own.
func Unregister() { registered = false }
