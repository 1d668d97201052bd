#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/text.h"
#include "doctor_checks.h"
#include "queue/spool.h"
#include "queue/state_folder.h"

/* A reply may have 8 MiB, and is written beside the file that it replaces. */
enum { FAIL_BELOW_MIB = 16, WARN_BELOW_MIB = 64, BYTES_PER_MIB = 1024 * 1024 };

static const char folder_check[] = "state folder";
static const char space_check[] = "disk space";
static const char runtime_check[] = "running runtime";

static const char writable_fix[] =
    "set STATE_DIR to a folder that the runtime's user may write to, or give it to that user";

/* Cuts path to the part of it that is there; "/" always is. */
static void cut_to_existing(char *path)
{
    struct stat status;
    while (stat(path, &status) != 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            text_copy(path, sizeof ".", ".");
        else
            slash[slash == path ? 1 : 0] = '\0';
    }
}

static void judge_space(struct doctor *doctor, const char *path)
{
    struct statvfs space;
    if (statvfs(path, &space) != 0) {
        report_add(&doctor->report, space_check, REPORT_WARN, NULL, "cannot be found out: %s",
            strerror(errno));
        return;
    }
    unsigned long long free_mib =
        (unsigned long long)space.f_bavail * space.f_frsize / BYTES_PER_MIB;
    bool has_files = space.f_files == 0 || space.f_favail > 0;
    enum report_result result = free_mib < WARN_BELOW_MIB ? REPORT_WARN : REPORT_OK;
    if (free_mib < FAIL_BELOW_MIB || !has_files)
        result = REPORT_FAIL;
    report_add(&doctor->report, space_check, result,
        result == REPORT_OK ? NULL : "make room there: replies wait there to be written back",
        "%llu MiB free for %s%s", free_mib, path, has_files ? "" : ", but no file can be made");
}

static void judge_holder(struct doctor *doctor)
{
    char holder[32];
    if (!state_folder_is_held(doctor->config->state_dir, holder, sizeof holder))
        report_add(
            &doctor->report, runtime_check, REPORT_OK, NULL, "none: the state folder is free");
    else
        report_add(&doctor->report, runtime_check, REPORT_OK, NULL,
            "process %s holds the state folder", holder[0] != '\0' ? holder : "(unknown)");
}

/* What stands against using the folder, or NULL. existing is the part of it that is there. */
static const char *find_obstacle(const char *existing, const struct stat *status)
{
    if (!S_ISDIR(status->st_mode))
        return "is not a folder";
    if (faccessat(AT_FDCWD, existing, R_OK | W_OK | X_OK, AT_EACCESS) != 0)
        return errno == EROFS ? "is on a read-only file system" : "cannot be written to";
    return NULL;
}

static bool check_owner(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    struct error error;
    int result = spool_check_account(config->state_dir, config->account_id, &error);
    if (result == 0)
        return true;
    report_add(&doctor->report, folder_check, REPORT_FAIL,
        result == ERROR_INVALID ? "set STATE_DIR to a folder of this account's own" : writable_fix,
        "%s", error.text);
    return false;
}

static bool check_folder(struct doctor *doctor, const char *existing)
{
    const char *path = doctor->config->state_dir;
    struct stat status;
    if (stat(existing, &status) != 0) {
        report_add(&doctor->report, folder_check, REPORT_FAIL, writable_fix, "%s: %s", existing,
            strerror(errno));
        return false;
    }
    const char *obstacle = find_obstacle(existing, &status);
    if (obstacle != NULL) {
        report_add(
            &doctor->report, folder_check, REPORT_FAIL, writable_fix, "%s %s", existing, obstacle);
        return false;
    }
    if (strcmp(existing, path) != 0)
        report_add(&doctor->report, folder_check, REPORT_OK, NULL, "%s can be made", path);
    else if (!check_owner(doctor))
        return false;
    else if ((status.st_mode & 077) != 0)
        report_add(&doctor->report, folder_check, REPORT_WARN, "chmod 700 the folder",
            "%s has mode %04o: others may read the replies in it", path, status.st_mode & 07777);
    else
        report_add(&doctor->report, folder_check, REPORT_OK, NULL, "%s can be used", path);
    return true;
}

void doctor_check_state(struct doctor *doctor)
{
    char existing[PATH_MAX];
    if (!text_copy(existing, sizeof existing, doctor->config->state_dir)) {
        report_add(&doctor->report, folder_check, REPORT_FAIL, writable_fix,
            "the path is longer than %d bytes", PATH_MAX);
        return;
    }
    cut_to_existing(existing);
    if (check_folder(doctor, existing)) {
        judge_space(doctor, existing);
        judge_holder(doctor);
    } else {
        doctor_skip(doctor, (const char *const[]){space_check, runtime_check, NULL}, folder_check);
    }
}
