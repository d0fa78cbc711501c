/* What the files of the conformance suite share. */
#ifndef CONFORMANCE_SUITE_H
#define CONFORMANCE_SUITE_H

#define GROESSE "größe ✓"
#define TOKEN "open-sesame-größe"

/* How long the value `big` is. */
#define BIG 60000

#endif
