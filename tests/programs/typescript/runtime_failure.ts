interface Account { owner?: { name: string } }
const account: Account = {};

function greet(a: Account): string {
  return a.owner!.name;
}
console.log(greet(account));
