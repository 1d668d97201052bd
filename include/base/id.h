/* The backend's ids: opaque, but bounded, since they name table rows here and files in the spool.
 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include <stdbool.h>

enum { ID_BYTES = 65 }; /* 64 characters and the closing NUL */

/* Whether text is 1 to 64 characters of [A-Za-z0-9_-]. Pure. */
bool id_is_valid(const char *text);

#endif
