print('ok')
