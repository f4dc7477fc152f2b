# disk.sh limit|full|read-only|forbidden FOLDER COMMAND: runs the command with
# `-o FOLDER/disk/m.so`, where an old m.so stands, in a place with a fault. Prints
# its messages, its status and what is in the folder afterwards.
set -u
what=$1 disk=$2/disk command=$3
case $what in
full | read-only)
  if [ -z "${DISK_INSIDE-}" ]; then
    DISK_INSIDE=1 exec unshare -rm bash "$0" "$@"
  fi
  ;;
esac
rm -rf "$disk"
mkdir "$disk"
[ "$what" != full ] || mount -t tmpfs -o size=24k none "$disk"
[ "$what" != read-only ] || mount -t tmpfs none "$disk"
echo old >"$disk/m.so"
case $what in
limit) ulimit -f 8 ;;
read-only) mount -o remount,ro "$disk" ;;
forbidden) chmod 555 "$disk" ;;
esac
$command -o "$disk/m.so"
echo "status $?, left: $(ls -A "$disk" | grep -v '\.mlir$')"
[ "$(cat "$disk/m.so")" = old ] || echo "the old file changed"
[ "$what" != forbidden ] || chmod 755 "$disk"
