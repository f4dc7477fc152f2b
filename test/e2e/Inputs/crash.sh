# crash.sh TOOL FOLDER: lets the tool crash while it reads its input, and prints
# its exit code. The pipe is open once the tool reads, so there is no race.
mkfifo "$2/input.moe"
"$1" "$2/input.moe" -o "$2/output.so" &
tool=$!
exec 3> "$2/input.moe"
kill -SEGV "$tool"
wait "$tool"
echo "exit code $?"
